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
    int built[3], running[3];
    cm_dnnl_versions(built, running);
    (void)snprintf(text, sizeof text,
                   "libconsistency %s (%s); oneDNN %d.%d.%d built, %d.%d.%d running; kernels %s; libjpeg %d; "
                   "libpng %s; jansson %s",
                   cm_version(), COMPILER, built[0], built[1], built[2], running[0], running[1], running[2],
                   levels[cm_cpu_level()], JPEG_LIB_VERSION, PNG_LIBPNG_VER_STRING, JANSSON_VERSION);
    return text;
}

size_t cm_abi_sizeof(const char *struct_name)
{
    static const struct {
        const char *name;
        size_t size;
    } structs[] = {{"cm_context_options", sizeof(cm_context_options)},
                   {"cm_load_options", sizeof(cm_load_options)},
                   {"cm_save_options", sizeof(cm_save_options)},
                   {"cm_model_info", sizeof(cm_model_info)},
                   {"cm_sampler_options", sizeof(cm_sampler_options)},
                   {"cm_sample_options", sizeof(cm_sample_options)},
                   {"cm_sampler_info", sizeof(cm_sampler_info)},
                   {"cm_dataset_options", sizeof(cm_dataset_options)},
                   {"cm_dataset_info", sizeof(cm_dataset_info)},
                   {"cm_train_inputs", sizeof(cm_train_inputs)},
                   {"cm_train_report", sizeof(cm_train_report)},
                   {"cm_images", sizeof(cm_images)},
                   {"cm_edit_options", sizeof(cm_edit_options)},
                   {"cm_edit_map", sizeof(cm_edit_map)},
                   {"cm_denoise_options", sizeof(cm_denoise_options)},
                   {"cm_condition", sizeof(cm_condition)},
                   {"cm_reader", sizeof(cm_reader)}};
    for (size_t i = 0; struct_name && i < sizeof structs / sizeof *structs; i++)
        if (strcmp(structs[i].name, struct_name) == 0) return structs[i].size;
    return 0;
}
