/* fault_program.c DIR: saves a model and a picture over older ones, reads them
 * back.  Exit 0 when all went well, 3 when something failed with IO, 1 for any
 * other outcome.  faults.sh runs it under the shim. */
#include <stdio.h>
#include <string.h>

#include <consistency.h>

#include "support/pictures.h"

static int report(const char *what, cm_status status)
{
    if (status == CM_OK) return 0;
    fprintf(stderr, "%s: %s: %s\n", what, cm_status_name(status), cm_last_message());
    return status == CM_ERR_IO && strstr(cm_last_message(), "out.") ? 3 : 1;
}

int main(int argc, char **argv)
{
    cm_model *model, *copy = NULL;
    cm_save_options o;
    uint8_t pixels[64 * 64], *back = NULL;
    char path[512];
    int32_t c = 1, h, w;
    if (argc != 2 || cm_model_load(NULL, "models/digits_consistency.safetensors", NULL, &model) != CM_OK) return 2;
    cm_save_options_init(&o, sizeof o);
    o.overwrite = 1;
    memset(pixels, 77, sizeof pixels);
    snprintf(path, sizeof path, "%s/out.safetensors", argv[1]);
    int code = report("save", cm_model_save(model, path, &o));
    if (!code) code = report("load", cm_model_load(NULL, path, NULL, &copy));
    snprintf(path, sizeof path, "%s/out.png", argv[1]);
    if (!code) code = report("write", write_picture(NULL, path, 1, 64, 64, pixels, 0, 1));
    if (!code) code = report("read", read_picture(NULL, path, &c, &h, &w, &back));
    free_pixels(NULL, back);
    cm_model_free(copy);
    cm_model_free(model);
    return code;
}
