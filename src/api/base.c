/* base.c - version and build facts. */
#include <consistency.h>

#include <stdio.h>
#include <string.h>

#include <jansson.h>
#include <jpeglib.h>
#include <png.h>

#include "base/cpu_level.h"
#include "dnnl/backend.h"

#define TEXT_(x) #x
#define TEXT(x) TEXT_(x)

const char *cm_version(void)
{
    return TEXT(CM_VERSION_MAJOR) "." TEXT(CM_VERSION_MINOR) "." TEXT(CM_VERSION_PATCH);
}

uint32_t cm_version_number(void)
{
    return CM_VERSION_NUMBER;
}

#if defined(__clang__)
#define COMPILER "clang " __clang_version__
#elif defined(__GNUC__)
#define COMPILER "gcc " __VERSION__
#else
#define COMPILER "unknown compiler"
#endif

const char *cm_build_info(void)
{
    static _Thread_local char text[320];
    static const char *const levels[] = {"baseline", "AVX2", "AVX-512", "AVX-512 with bfloat16", "AMX with bfloat16"};
    char backend[80] = "no oneDNN";
    int built[3], running[3];
    cmi_dnnl_versions(built, running);
    if (built[0])
        (void)snprintf(backend, sizeof backend, "oneDNN %d.%d.%d built, %d.%d.%d running", built[0], built[1],
                       built[2], running[0], running[1], running[2]);
    (void)snprintf(text, sizeof text, "libconsistency %s (%s); %s; kernels %s; libjpeg %d; libpng %s; jansson %s",
                   cm_version(), COMPILER, backend, levels[cmi_cpu_level()], JPEG_LIB_VERSION, PNG_LIBPNG_VER_STRING,
                   JANSSON_VERSION);
    return text;
}

#define SIZED(type)                                                                                                  \
    {                                                                                                                \
#type, sizeof(type)                                                                                          \
    }

size_t cm_abi_sizeof(const char *struct_name)
{
    static const struct {
        const char *name;
        size_t size;
    } structs[] = {
        SIZED(cm_context_options),
        SIZED(cm_load_options),
        SIZED(cm_save_options),
        SIZED(cm_model_info),
        SIZED(cm_sampler_options),
        SIZED(cm_sample_options),
        SIZED(cm_sampler_info),
        SIZED(cm_dataset_options),
        SIZED(cm_dataset_info),
        SIZED(cm_dataset_check_options),
        SIZED(cm_dataset_report),
        SIZED(cm_dataset_pack_options),
        SIZED(cm_group),
        SIZED(cm_train_inputs),
        SIZED(cm_train_report),
        SIZED(cm_average_options),
        SIZED(cm_images),
        SIZED(cm_edit_options),
        SIZED(cm_edit_map),
        SIZED(cm_denoise_options),
        SIZED(cm_likelihood_options),
        SIZED(cm_condition),
        SIZED(cm_reader),
        SIZED(cm_run_info),
        SIZED(cm_run_needs),
        SIZED(cm_run_report),
        SIZED(cm_image_read_options),
        SIZED(cm_image_write_options),
        SIZED(cm_option_info),
        SIZED(cm_checkpoint_options),
        SIZED(cm_checkpoint_info),
        SIZED(cm_checkpoint_check_options),
        SIZED(cm_checkpoint_report),
        SIZED(cm_features_info),
        SIZED(cm_lpips_info),
        SIZED(cm_lpips_options),
        SIZED(cm_feature_rows),
        SIZED(cm_samples_options),
        SIZED(cm_statistics_info),
        SIZED(cm_subset_options),
        SIZED(cm_score_options),
        SIZED(cm_search_options),
        SIZED(cm_neighbour_options),
    };
    for (size_t i = 0; struct_name && i < sizeof structs / sizeof *structs; i++)
        if (strcmp(structs[i].name, struct_name) == 0) return structs[i].size;
    return 0;
}
