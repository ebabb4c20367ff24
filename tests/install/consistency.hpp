// consistency.hpp - the library for C++17: handles that free themselves, exceptions in place of statuses.
#ifndef CONSISTENCY_HPP
#define CONSISTENCY_HPP

#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include <consistency.h>

namespace consistency
{

class error : public std::runtime_error
{
  public:
    error(cm_status status) : std::runtime_error(cm_last_message()), status_(status) {}
    cm_status status() const noexcept { return status_; }

  private:
    cm_status status_;
};

inline void check(cm_status status)
{
    if (status != CM_OK) throw error(status);
}

template <typename T, void (*Free)(T *)> struct deleter {
    void operator()(T *handle) const noexcept { Free(handle); }
};
template <typename T, void (*Free)(T *)> using handle = std::unique_ptr<T, deleter<T, Free>>;

using context = handle<cm_context, cm_context_free>;
using model = handle<cm_model, cm_model_free>;
using sampler = handle<cm_sampler, cm_sampler_free>;
using dataset = handle<cm_dataset, cm_dataset_free>;
using train_options = handle<cm_train_options, cm_train_options_free>;
using trainer = handle<cm_trainer, cm_trainer_free>;
using run_options = handle<cm_run_options, cm_run_options_free>;
using run = handle<cm_run, cm_run_free>;

// make<model>(cm_model_load, context.get(), "model.safetensors", nullptr)
template <typename Handle, typename Function, typename... Arguments>
Handle make(Function function, Arguments... arguments)
{
    typename Handle::pointer made = nullptr;
    check(function(arguments..., &made));
    return Handle(made);
}

inline std::vector<uint8_t> encode(cm_context *context, const cm_images &image, int32_t format)
{
    cm_image_write_options options = CM_IMAGE_WRITE_OPTIONS_INIT;
    options.format = format;
    uint8_t *bytes = nullptr;
    size_t size = 0;
    check(cm_image_encode(context, &image, &options, &bytes, &size));
    std::vector<uint8_t> copy(bytes, bytes + size);
    cm_bytes_free(context, bytes);
    return copy;
}

} // namespace consistency

#endif
