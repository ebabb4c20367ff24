// window.cc - a window in which a consistency model draws, and fills in what the mouse has painted over.
//
//     window MODEL.safetensors
//
// The network runs on a thread of its own (painter.hpp); the window only asks it for pictures and shows what comes.
// A line on standard output tells what became of each request.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <stdexcept>
#include <string>

#include <SDL.h>

#include "font.hpp"
#include "painter.hpp"

namespace
{

constexpr int margin = 16, large = 384, cells = 4, cell = 52, most_steps = 32;
constexpr SDL_Rect picture_area = {margin, margin, large, large};
constexpr SDL_Rect page_area = {2 * margin + large, margin, cells *cell, cells *cell};
constexpr SDL_Rect slider_area = {margin, 2 * margin + large, large, 24};
constexpr int window_width = page_area.x + page_area.w + margin, window_height = slider_area.y + 76;

bool inside(const SDL_Rect &area, int x, int y)
{
    const SDL_Point point = {x, y};
    return SDL_PointInRect(&point, &area) == SDL_TRUE;
}

void require(bool worked, const char *what)
{
    if (!worked) throw std::runtime_error(std::string(what) + ": " + SDL_GetError());
}

// SDL, the window and what it draws with; they end in the other order.
class screen
{
  public:
    screen()
    {
        require(SDL_Init(SDL_INIT_VIDEO) == 0, "SDL_Init");
        woken = SDL_RegisterEvents(1);
        window_ = SDL_CreateWindow("libconsistency", SDL_WINDOWPOS_CENTERED, SDL_WINDOWPOS_CENTERED, window_width,
                                   window_height, 0);
        if (window_) renderer = SDL_CreateRenderer(window_, -1, 0);
        if (renderer) return;
        const std::string message = SDL_GetError();
        end();
        throw std::runtime_error("no window: " + message);
    }
    ~screen()
    {
        end();
    }
    void make_textures(int32_t height, int32_t width)
    {
        picture = texture(height, width);
        page = texture(height * cells, width * cells);
    }
    screen(const screen &) = delete;
    screen &operator=(const screen &) = delete;

    SDL_Renderer *renderer = nullptr;
    SDL_Texture *picture = nullptr, *page = nullptr;
    Uint32 woken = 0; // the event that the painter sends

  private:
    SDL_Texture *texture(int height, int width)
    {
        SDL_Texture *made =
            SDL_CreateTexture(renderer, SDL_PIXELFORMAT_RGB24, SDL_TEXTUREACCESS_STREAMING, width, height);
        require(made != nullptr, "SDL_CreateTexture");
        return made;
    }
    void end()
    {
        SDL_DestroyTexture(page);
        SDL_DestroyTexture(picture);
        SDL_DestroyRenderer(renderer);
        SDL_DestroyWindow(window_);
        SDL_Quit();
    }
    SDL_Window *window_ = nullptr;
};

class program
{
  public:
    explicit program(const char *model) : painter_(model, [this] { wake(); })
    {
        screen_.make_textures(info().height, info().width);
        picture_.assign(pixels() * channels(), 0);
        mask_.assign(pixels(), 0);
        pages_.assign(pixels() * channels() * cells * cells, 0);
        ask(request::draw);
    }

    void loop()
    {
        SDL_Event event;
        while (!quit_) {
            show();
            if (!SDL_WaitEvent(&event)) throw std::runtime_error(SDL_GetError());
            do handle(event);
            while (SDL_PollEvent(&event));
        }
    }

  private:
    const cm_model_info &info() const
    {
        return painter_.info();
    }
    size_t pixels() const
    {
        return static_cast<size_t>(info().height) * static_cast<size_t>(info().width);
    }
    size_t channels() const
    {
        return static_cast<size_t>(info().channels);
    }

    // --- the painter -------------------------------------------------------------------------

    // On the painter's thread: one event is enough for all that is new.
    void wake()
    {
        if (sent_.exchange(true)) return;
        SDL_Event event = {};
        event.type = screen_.woken;
        if (SDL_PushEvent(&event) != 1) sent_ = false;
    }

    void ask(request::kind_of kind)
    {
        request next;
        next.kind = kind;
        next.label = label_;
        next.steps = steps_;
        next.count = kind == request::walk ? 1 : cells * cells;
        next.seed = kind == request::walk ? walk_seed_ : seed_++;
        next.angle = walk_angle_;
        if (kind == request::fill) {
            next.picture = picture_;
            next.mask = mask_;
        }
        // A model with classes needs one for what is filled in, and for a walk that is to stay with one.
        if (info().num_classes > 0 && kind != request::draw && label_ < 0) next.label = 0;
        painter_.ask(std::move(next));
    }

    void cancel()
    {
        walking_ = false;
        painter_.cancel();
    }

    void receive(const result &made)
    {
        static const char *const names[] = {"draw", "fill", "walk"};
        const request &asked = made.asked;
        if (!made.error.empty()) message_ = made.error;
        else if (made.cancelled) message_ = "cancelled";
        else if (asked.kind == request::walk) take_step(made);
        else {
            char text[80];
            pages_ = made.pictures;
            choose(0);
            std::snprintf(text, sizeof text, "%.2f ms each, %.0f in a second",
                          1000 * made.seconds / static_cast<double>(asked.count),
                          static_cast<double>(asked.count) / made.seconds);
            message_ = text;
        }
        if (asked.kind == request::walk && made.error.empty() && (!made.cancelled || walking_)) return;
        std::printf("%s class %d steps %d pictures %zu: %s", names[asked.kind], asked.label, asked.steps, asked.count,
                    message_.c_str());
        if (asked.kind == request::fill)
            std::printf(", %zu points made anew",
                        asked.mask.size() - static_cast<size_t>(std::count(asked.mask.begin(), asked.mask.end(), 0)));
        std::printf("\n");
        std::fflush(stdout);
    }

    // The next picture of a walk is asked for when one has come, so there are as many as the network can draw.
    void take_step(const result &made)
    {
        picture_ = made.pictures;
        seconds_ += (made.seconds - seconds_) / 16;
        char text[80];
        std::snprintf(text, sizeof text, "walk: %.2f ms a picture", 1000 * seconds_);
        message_ = text;
        if (++walked_ % 100 == 0) {
            std::printf("walk of %d pictures: %.2f ms each\n", walked_, 1000 * seconds_);
            std::fflush(stdout);
        }
        walk_angle_ += 0.02;
        if (walk_angle_ >= M_PI / 2) {
            walk_angle_ = 0;
            walk_seed_++;
        }
        if (walking_) ask(request::walk);
    }

    void choose(size_t index)
    {
        const auto first = pages_.begin() + static_cast<std::ptrdiff_t>(index * picture_.size());
        picture_.assign(first, first + static_cast<std::ptrdiff_t>(picture_.size()));
        chosen_ = index;
    }

    // --- events ------------------------------------------------------------------------------

    void handle(const SDL_Event &event)
    {
        if (event.type == screen_.woken) {
            sent_ = false;
            if (auto made = painter_.take()) receive(*made);
        } else if (event.type == SDL_QUIT) quit_ = true;
        else if (event.type == SDL_KEYDOWN && !event.key.repeat) press(event.key.keysym.sym);
        else if (event.type == SDL_MOUSEBUTTONDOWN) {
            held_ = inside(slider_area, event.button.x, event.button.y) ? sliding : painting;
            last_ = {event.button.x, event.button.y};
            drag(event.button.x, event.button.y, event.button.button == SDL_BUTTON_RIGHT);
            if (inside(page_area, event.button.x, event.button.y))
                choose(static_cast<size_t>((event.button.y - page_area.y) / cell * cells +
                                           (event.button.x - page_area.x) / cell));
        } else if (event.type == SDL_MOUSEBUTTONUP) held_ = nothing;
        else if (event.type == SDL_MOUSEMOTION && held_ != nothing)
            drag(event.motion.x, event.motion.y, (event.motion.state & SDL_BUTTON_RMASK) != 0);
    }

    void press(SDL_Keycode key)
    {
        if (key >= SDLK_0 && key <= SDLK_9 && key - SDLK_0 < info().num_classes) {
            label_ = key - SDLK_0;
            if (!walking_) ask(request::draw);
            return;
        }
        switch (key) {
        case SDLK_a: label_ = -1; [[fallthrough]];
        case SDLK_n:
            walking_ = false;
            ask(request::draw);
            break;
        case SDLK_f:
            walking_ = false;
            if (std::any_of(mask_.begin(), mask_.end(), [](uint8_t m) { return m != 0; })) ask(request::fill);
            else message_ = "paint over what is to be filled in";
            break;
        case SDLK_c: mask_.assign(pixels(), 0); break;
        case SDLK_SPACE:
            walking_ = !walking_;
            if (walking_) ask(request::walk);
            break;
        case SDLK_LEFT: steps_ = std::max(1, steps_ - 1); break;
        case SDLK_RIGHT: steps_ = std::min(most_steps, steps_ + 1); break;
        case SDLK_ESCAPE: cancel(); break;
        case SDLK_s: save("window.png"); break;
        case SDLK_q: quit_ = true; break;
        default: break;
        }
    }

    void drag(int x, int y, bool erase)
    {
        if (held_ == sliding) {
            const double at = std::clamp((x - slider_area.x) / static_cast<double>(slider_area.w), 0.0, 1.0);
            steps_ = 1 + static_cast<int>(std::lround(at * (most_steps - 1)));
        } else if (inside(picture_area, x, y)) {
            // A quick mouse is seen in few places; the brush goes along the line between them.
            const int pieces = 1 + static_cast<int>(std::hypot(x - last_.x, y - last_.y) / 8);
            for (int i = 1; i <= pieces; i++)
                paint(last_.x + (x - last_.x) * i / pieces - picture_area.x,
                      last_.y + (y - last_.y) * i / pieces - picture_area.y, erase);
        }
        last_ = {x, y};
    }

    // A round brush over the mask.
    void paint(int x, int y, bool erase)
    {
        const double across = x * info().width / static_cast<double>(large), radius = info().width / 12.0;
        const double down = y * info().height / static_cast<double>(large);
        for (int row = 0; row < info().height; row++)
            for (int column = 0; column < info().width; column++)
                if (std::hypot(column + 0.5 - across, row + 0.5 - down) < radius)
                    mask_[static_cast<size_t>(row * info().width + column)] = erase ? 0 : 255;
    }

    // --- the screen --------------------------------------------------------------------------

    // Pictures of one channel or three as the texture wants them, through a view with strides.
    void to_rgb(const uint8_t *from, int32_t rows, uint8_t *to, int64_t pitch) const
    {
        cm_images picture = cm_images_u8(1, rows, info().width, info().channels, from);
        cm_images rgb = cm_images_u8(1, rows, info().width, 3, to);
        if (info().channels == 1) { // the gray channel is read three times
            picture.channels = 3;
            picture.channel_stride = 0;
            picture.pixel_stride = 1;
            picture.row_stride = info().width;
        }
        rgb.channel_stride = 1;
        rgb.pixel_stride = 3;
        rgb.row_stride = pitch;
        if (cm_images_convert(&picture, &rgb) != CM_OK) throw std::runtime_error(cm_last_message());
    }

    void fill_textures()
    {
        void *bytes;
        int pitch;
        require(SDL_LockTexture(screen_.picture, nullptr, &bytes, &pitch) == 0, "SDL_LockTexture");
        uint8_t *to = static_cast<uint8_t *>(bytes);
        to_rgb(picture_.data(), info().height, to, pitch);
        for (size_t i = 0; i < mask_.size(); i++) { // what is painted over is red
            uint8_t *pixel = to + i / static_cast<size_t>(info().width) * static_cast<size_t>(pitch) +
                             i % static_cast<size_t>(info().width) * 3;
            if (!mask_[i]) continue;
            pixel[0] = static_cast<uint8_t>(128 + pixel[0] / 2);
            pixel[1] = pixel[2] = static_cast<uint8_t>(pixel[1] / 3);
        }
        SDL_UnlockTexture(screen_.picture);
        require(SDL_LockTexture(screen_.page, nullptr, &bytes, &pitch) == 0, "SDL_LockTexture");
        to = static_cast<uint8_t *>(bytes);
        for (int i = 0; i < cells * cells; i++)
            to_rgb(pages_.data() + static_cast<size_t>(i) * picture_.size(), info().height,
                   to + i / cells * info().height * pitch + i % cells * info().width * 3, pitch);
        SDL_UnlockTexture(screen_.page);
    }

    void colour(int red, int green, int blue)
    {
        SDL_SetRenderDrawColor(screen_.renderer, static_cast<Uint8>(red), static_cast<Uint8>(green),
                               static_cast<Uint8>(blue), 255);
    }

    void show_slider()
    {
        char text[64];
        const int knob = slider_area.x + slider_area.w * (steps_ - 1) / (most_steps - 1);
        const SDL_Rect line = {slider_area.x, slider_area.y + 10, slider_area.w, 4};
        const SDL_Rect handle = {knob - 6, slider_area.y, 12, slider_area.h};
        colour(90, 90, 100);
        SDL_RenderFillRect(screen_.renderer, &line);
        colour(120, 170, 255);
        SDL_RenderFillRect(screen_.renderer, &handle);
        colour(220, 220, 220);
        std::snprintf(text, sizeof text, "%d step%s", steps_, steps_ == 1 ? "" : "s");
        write_text(screen_.renderer, page_area.x, slider_area.y + 5, 3, text);
    }

    void show_words()
    {
        static const char *const help[] = {
            "0-9 class, A any class", "N new pictures",          "space walk",
            "mouse paint, F fill in", "C clear what is painted", "esc cancel, S save, Q quit"};
        const int y = slider_area.y + 36;
        char text[64] = "any class";
        if (label_ >= 0) std::snprintf(text, sizeof text, "class %d", label_);
        write_text(screen_.renderer, margin, y, 3, text);
        write_text(screen_.renderer, margin + 132, y, 3, message_.substr(0, 40).c_str());
        colour(150, 150, 160);
        for (int i = 0; i < 6; i++)
            write_text(screen_.renderer, page_area.x, page_area.y + page_area.h + 24 + 20 * i, 2, help[i]);
        if (!painter_.busy()) return;
        const SDL_Rect bar = {margin, y + 24, static_cast<int>(painter_.progress() * large), 4};
        colour(120, 170, 255);
        SDL_RenderFillRect(screen_.renderer, &bar);
    }

    void show()
    {
        fill_textures();
        colour(30, 32, 38);
        SDL_RenderClear(screen_.renderer);
        SDL_RenderCopy(screen_.renderer, screen_.picture, nullptr, &picture_area);
        SDL_RenderCopy(screen_.renderer, screen_.page, nullptr, &page_area);
        const SDL_Rect frame = {page_area.x + static_cast<int>(chosen_ % cells) * cell,
                                page_area.y + static_cast<int>(chosen_ / cells) * cell, cell, cell};
        colour(120, 170, 255);
        SDL_RenderDrawRect(screen_.renderer, &frame);
        show_slider();
        show_words();
        SDL_RenderPresent(screen_.renderer);
    }

    // What the window shows, as a PNG.
    void save(const char *path)
    {
        std::vector<uint8_t> bytes(static_cast<size_t>(window_width) * window_height * 3);
        show();
        require(SDL_RenderReadPixels(screen_.renderer, nullptr, SDL_PIXELFORMAT_RGB24, bytes.data(),
                                     window_width * 3) == 0,
                "SDL_RenderReadPixels");
        const cm_images picture = cm_images_u8(1, window_height, window_width, 3, bytes.data());
        cm_image_write_options options = CM_IMAGE_WRITE_OPTIONS_INIT;
        options.overwrite = CM_OVERWRITE_YES;
        const bool written = cm_image_write(nullptr, path, &picture, &options) == CM_OK;
        message_ = written ? std::string("saved as ") + path : cm_last_message();
        std::printf("%s\n", message_.c_str());
        std::fflush(stdout);
    }

    screen screen_;
    std::atomic<bool> sent_{false};
    std::vector<uint8_t> picture_, mask_, pages_;
    size_t chosen_ = 0;
    enum { nothing, painting, sliding } held_ = nothing;
    SDL_Point last_ = {0, 0}; // where the mouse was while a button is held
    int32_t label_ = -1, steps_ = 1;
    uint64_t seed_ = 1, walk_seed_ = 1;
    double walk_angle_ = 0, seconds_ = 0;
    int walked_ = 0;
    bool walking_ = false, quit_ = false;
    std::string message_;
    painter painter_; // the last member: its thread ends before what it wakes
};

} // namespace

int main(int argc, char **argv)
{
    if (argc != 2) {
        std::fprintf(stderr, "usage: window MODEL.safetensors\n");
        return 2;
    }
    try {
        program(argv[1]).loop();
        return EXIT_SUCCESS;
    } catch (const std::exception &e) {
        std::fprintf(stderr, "window: %s\n", e.what());
        return EXIT_FAILURE;
    }
}
