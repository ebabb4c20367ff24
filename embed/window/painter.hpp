// painter.hpp - a thread that draws, so that the window never waits for a network.
#ifndef PAINTER_HPP
#define PAINTER_HPP

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include <consistency.h>

struct request {
    enum kind_of { draw, fill, walk } kind = draw;
    int32_t label = -1; // -1: any
    int32_t steps = 1;
    size_t count = 1; // pictures that are wanted
    uint64_t seed = 0;
    double angle = 0; // of a walk: how far from the noise of `seed` to that of the next seed, in radians
    std::vector<uint8_t> picture, mask; // of a fill: height x width x channels, and height x width, 255 = make anew
};

struct result {
    request asked;
    std::vector<uint8_t> pictures; // count x height x width x channels
    double seconds = 0;
    std::string error; // "" = none
    bool cancelled = false;
};

class painter
{
  public:
    // `wake` is called from the painter's thread when there is a result or more of one.
    painter(const char *model, std::function<void()> wake);
    ~painter();
    painter(const painter &) = delete;
    painter &operator=(const painter &) = delete;

    const cm_model_info &info() const
    {
        return info_;
    }
    bool busy();
    double progress() const
    {
        return progress_.load();
    }
    void ask(request next); // takes the place of a request that has not begun
    void cancel();          // the one that runs and the one that waits
    std::optional<result> take();

  private:
    void work();
    result run(const request &asked);
    static int32_t report(void *self, uint64_t done, uint64_t total);

    cm_model *model_ = nullptr;
    cm_sampler *sampler_ = nullptr;
    cm_model_info info_ = CM_MODEL_INFO_INIT;
    std::function<void()> wake_;
    std::atomic<double> progress_{0};
    std::atomic<bool> stop_{false};
    std::mutex lock_; // of what follows
    std::condition_variable changed_;
    std::optional<request> waiting_;
    std::optional<result> ready_;
    bool running_ = false, ending_ = false;
    std::thread thread_; // the last member: it begins when all others are there
};

#endif
