// everything MODEL FOLDER: what everything.c does, in C++17 through consistency.hpp.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>

#include "consistency.hpp"

namespace cm = consistency;
namespace fs = std::filesystem;

constexpr int side = 32, pixels = side * side, count = 6;

static void use(const std::string &path, const fs::path &folder)
{
    std::ifstream file(path, std::ios::binary);
    const std::vector<char> bytes{std::istreambuf_iterator<char>(file), {}};
    cm_context_options threads = CM_CONTEXT_OPTIONS_INIT;
    threads.threads = 2;
    const auto context = cm::make<cm::context>(cm_context_create, &threads);
    const auto model = cm::make<cm::model>(cm_model_load_memory, context.get(), bytes.data(), bytes.size(), nullptr);
    const auto sampler = cm::make<cm::sampler>(cm_sampler_create, model.get(), nullptr);

    const int32_t digits[count] = {0, 1, 0, 1, 0, 1};
    cm_condition condition = CM_CONDITION_INIT;
    condition.labels = digits;
    cm_sample_options how = CM_SAMPLE_OPTIONS_INIT;
    how.condition = &condition;
    how.seed = 1;
    std::vector<uint8_t> drawn(count * pixels);
    const cm_images view = cm_images_u8(count, side, side, 1, drawn.data());
    cm::check(cm_sampler_run_images(sampler.get(), &how, &view));

    const fs::path pictures = folder / "pictures";
    fs::create_directory(pictures);
    for (int i = 0; i < count; i++) {
        const cm_images one = cm_images_u8(1, side, side, 1, drawn.data() + i * pixels);
        const auto png = cm::encode(context.get(), one, CM_IMAGE_FORMAT_PNG);
        std::ofstream(pictures / (std::to_string(i % 2) + "_" + std::to_string(i) + ".png"), std::ios::binary)
            .write(reinterpret_cast<const char *>(png.data()), static_cast<std::streamsize>(png.size()));
    }

    std::vector<float> mask(pixels);
    std::fill(mask.begin() + pixels / 2, mask.end(), 1.0f);
    std::vector<uint8_t> result(pixels);
    const cm_images given = cm_images_u8(1, side, side, 1, drawn.data());
    const cm_images where = cm_images_f32(1, 1, side, side, mask.data());
    const cm_images out = cm_images_u8(1, side, side, 1, result.data());
    cm_edit_options edit = CM_EDIT_OPTIONS_INIT;
    edit.sampling = &how;
    cm::check(cm_sampler_inpaint(sampler.get(), &edit, &given, &where, &out));
    if (!std::equal(result.begin(), result.begin() + pixels / 2, drawn.begin()))
        throw std::logic_error("what was to be kept has changed");

    cm_dataset_options gray = CM_DATASET_OPTIONS_INIT;
    gray.channels = 1;
    const auto dataset = cm::make<cm::dataset>(cm_dataset_open, context.get(), pictures.string().c_str(), &gray);
    std::vector<float> values(4 * pixels);
    std::vector<int32_t> labels(4);
    const cm_images batch = cm_images_f32(4, 1, side, side, values.data());
    cm::check(cm_dataset_read(dataset.get(), 0, &batch, labels.data()));
    condition.labels = labels.data();

    const auto options = cm::make<cm::train_options>(cm_train_options_create, context.get());
    cm::check(cm_train_options_set(options.get(), "objective", "edm"));
    cm::check(cm_train_options_set_number(options.get(), "batch", 4));
    cm_train_inputs inputs = CM_TRAIN_INPUTS_INIT;
    inputs.model = model.get();
    const auto trainer = cm::make<cm::trainer>(cm_trainer_create, &inputs, options.get());
    cm_train_report report = CM_TRAIN_REPORT_INIT;
    cm::check(cm_trainer_step(trainer.get(), &batch, &condition, &report));
    if (report.step != 1) throw std::logic_error("no step was counted");

    const auto all = cm::make<cm::run_options>(cm_run_options_create, context.get());
    for (const auto &[name, value] : {std::pair{"steps", "2"}, {"batch", "4"}, {"sample_every", "0"}})
        cm::check(cm_run_options_set(all.get(), name, value));
    cm::check(cm_run_options_inputs(all.get(), model.get(), nullptr, dataset.get()));
    const auto run = cm::make<cm::run>(cm_run_create, all.get(), (folder / "run").string().c_str());
    cm::check(cm_run_execute(run.get(), 2, nullptr, nullptr));

    try {
        cm::make<cm::model>(cm_model_load, context.get(), "no such file", nullptr);
        throw std::logic_error("a file that is not there was loaded");
    } catch (const cm::error &e) {
        if (e.status() != CM_ERR_IO) throw;
    }
}

int main(int argc, char **argv)
try {
    if (argc != 3) return 2;
    use(argv[1], argv[2]);
    std::cout << "everything: libconsistency " << cm_version() << "\n";
    return 0;
} catch (const std::exception &e) {
    std::cerr << "everything: " << e.what() << "\n";
    return 1;
}
