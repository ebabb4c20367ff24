/* fault_program.c DIR MODEL FORMAT [N]: saves the model over what is there and reads it back, as native (and a
 * picture besides), torch or diffusers in shards; with N the N-th request for memory fails.  Exit 0 when all went
 * well, 3 when something failed with IO, 4 when it found no memory, 1 for any other outcome.  faults.sh runs it under
 * the shim. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <consistency.h>

#include "support/memory.h"
#include "support/pictures.h"

static memory counted;

static int report(const char *what, cm_status status)
{
    if (status == CM_OK) return 0;
    fprintf(stderr, "%s: %s: %s\n", what, cm_status_name(status), cm_last_message());
    if (status == CM_ERR_MEMORY && counted.fail_at) return 4;
    return status == CM_ERR_IO && strstr(cm_last_message(), "out.") ? 3 : 1;
}

static int save_picture(cm_context *context, const char *folder)
{
    uint8_t pixels[64 * 64], *back = NULL;
    char path[512];
    int32_t c = 1, h, w;
    memset(pixels, 77, sizeof pixels);
    snprintf(path, sizeof path, "%s/out.png", folder);
    int code = report("write", write_picture(context, path, 1, 64, 64, pixels, 0, 1));
    if (!code) code = report("read", read_picture(context, path, &c, &h, &w, &back));
    free_pixels(context, back);
    return code;
}

static int save_model(cm_context *context, const char *source, const char *path, int32_t format)
{
    cm_model *model = NULL, *copy = NULL;
    cm_save_options o = CM_SAVE_OPTIONS_INIT;
    o.overwrite = CM_OVERWRITE_YES;
    o.format = format;
    o.shard_bytes = format == CM_MODEL_DIFFUSERS ? 60000 : 0;
    int code = report("open", cm_model_load(context, source, NULL, &model));
    if (!code) code = report("save", cm_model_save(model, path, &o));
    if (!code) code = report("load", cm_model_load(context, path, NULL, &copy));
    cm_model_free(copy);
    cm_model_free(model);
    return code;
}

int main(int argc, char **argv)
{
    static const char *const formats[] = {"native", "torch", "diffusers"};
    static const char *const names[] = {"out.safetensors", "out.pt", "out.folder"};
    cm_context *context;
    char path[512];
    int32_t format = 0;
    if (argc < 4) return 2;
    while (format < 3 && strcmp(formats[format], argv[3]) != 0) format++;
    if (format == 3) return 2;
    memory_reset(&counted);
    counted.fail_at = argc > 4 ? atol(argv[4]) : 0;
    cm_context_options o = memory_options(&counted, 1);
    int code = report("context", cm_context_create(&o, &context));
    if (code) return code;
    snprintf(path, sizeof path, "%s/%s", argv[1], names[format]);
    code = save_model(context, argv[2], path, format);
    if (!code && format == CM_MODEL_NATIVE) code = save_picture(context, argv[1]);
    cm_context_free(context);
    return counted.live ? 1 : code;
}
