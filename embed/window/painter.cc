// painter.cc - see the header.
#include "painter.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <random>
#include <stdexcept>

namespace
{

// One level is the model's highest.  More of them fall from it by equal factors to 0.8, below which another
// evaluation changes digits little.
std::vector<double> levels(double highest, int32_t steps)
{
    std::vector<double> all;
    for (int32_t i = 0; i < steps; i++)
        all.push_back(highest * std::pow(0.8 / highest, i / std::max(1.0, steps - 1.0)));
    return all;
}

std::vector<float> normals(uint64_t seed, size_t n)
{
    std::mt19937_64 numbers(seed);
    std::normal_distribution<float> normal;
    std::vector<float> z(n);
    for (float &value : z) value = normal(numbers);
    return z;
}

} // namespace

painter::painter(const char *model, std::function<void()> wake) : wake_(std::move(wake))
{
    cm_status status = cm_model_load(nullptr, model, nullptr, &model_);
    if (status == CM_OK) status = cm_model_info_get(model_, &info_);
    if (status == CM_OK) status = cm_sampler_create(model_, nullptr, &sampler_);
    if (status != CM_OK) {
        const std::string message = cm_last_message();
        cm_model_free(model_);
        throw std::runtime_error(message);
    }
    thread_ = std::thread([this] { work(); });
}

painter::~painter()
{
    {
        const std::lock_guard<std::mutex> guard(lock_);
        ending_ = true;
        waiting_.reset();
        stop_ = true;
    }
    cm_sampler_cancel(sampler_);
    changed_.notify_one();
    thread_.join();
    cm_sampler_free(sampler_);
    cm_model_free(model_);
}

bool painter::busy()
{
    const std::lock_guard<std::mutex> guard(lock_);
    return running_ || waiting_;
}

void painter::ask(request next)
{
    {
        const std::lock_guard<std::mutex> guard(lock_);
        waiting_ = std::move(next);
    }
    changed_.notify_one();
}

// A request to the sampler is forgotten where no call runs yet, so the callback looks at stop_ too.
void painter::cancel()
{
    {
        const std::lock_guard<std::mutex> guard(lock_);
        waiting_.reset();
        if (running_) stop_ = true;
    }
    cm_sampler_cancel(sampler_);
}

std::optional<result> painter::take()
{
    const std::lock_guard<std::mutex> guard(lock_);
    std::optional<result> taken;
    taken.swap(ready_);
    return taken;
}

void painter::work()
{
    std::unique_lock<std::mutex> guard(lock_);
    for (;;) {
        changed_.wait(guard, [this] { return ending_ || waiting_; });
        if (ending_) return;
        const request asked = std::move(*waiting_);
        waiting_.reset();
        running_ = true;
        stop_ = false;
        guard.unlock();
        progress_ = 0;
        result made = run(asked);
        guard.lock();
        running_ = false;
        ready_ = std::move(made);
        guard.unlock();
        wake_();
        guard.lock();
    }
}

int32_t painter::report(void *self, uint64_t done, uint64_t total)
{
    painter *p = static_cast<painter *>(self);
    p->progress_ = total ? static_cast<double>(done) / static_cast<double>(total) : 0;
    p->wake_();
    return p->stop_ ? 1 : 0;
}

result painter::run(const request &asked)
{
    result made;
    made.asked = asked;
    const auto begun = std::chrono::steady_clock::now();
    const int32_t height = info_.height, width = info_.width, channels = info_.channels;
    const size_t values = static_cast<size_t>(height) * static_cast<size_t>(width) * static_cast<size_t>(channels);
    made.pictures.resize(asked.count * values);
    const cm_images out = cm_images_u8(asked.count, height, width, channels, made.pictures.data());

    cm_sample_options options = CM_SAMPLE_OPTIONS_INIT;
    cm_condition condition = CM_CONDITION_INIT;
    const std::vector<int32_t> labels(asked.count, asked.label);
    condition.labels = labels.data();
    if (asked.label >= 0) options.condition = &condition;
    options.seed = asked.seed;
    options.progress = report;
    options.progress_user = this;

    cm_status status;
    std::vector<float> noise, other;
    const std::vector<double> sigmas = levels(info_.sigma_max, asked.steps);
    if (asked.kind == request::fill) {
        const cm_images given = cm_images_u8(1, height, width, channels, asked.picture.data());
        const cm_images mask = cm_images_u8(1, height, width, 1, asked.mask.data());
        cm_edit_options edit = CM_EDIT_OPTIONS_INIT;
        options.steps = asked.steps;
        edit.variations = static_cast<int32_t>(asked.count);
        edit.sampling = &options;
        status = cm_sampler_inpaint(sampler_, &edit, &given, &mask, &out);
    } else {
        options.method = asked.steps == 1 ? CM_METHOD_ONESTEP : CM_METHOD_MULTISTEP;
        options.sigmas = sigmas.data();
        options.sigma_count = sigmas.size();
        if (asked.kind == request::walk) { // a turn from one noise to another is noise all the way
            noise = normals(asked.seed, values);
            other = normals(asked.seed + 1, values);
            for (size_t i = 0; i < values; i++)
                noise[i] = static_cast<float>(std::cos(asked.angle)) * noise[i] +
                           static_cast<float>(std::sin(asked.angle)) * other[i];
            options.noise = noise.data();
            options.seed = 0; // of the noise of further steps
        }
        status = cm_sampler_run_images(sampler_, &options, &out);
    }
    made.cancelled = status == CM_ERR_CANCELLED;
    if (status != CM_OK && !made.cancelled) made.error = cm_last_message();
    made.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count();
    return made;
}
