/* foreign_folder.c - folders that people give in place of a model: those of other programs, by a file that each of
 * them has, and those that a model lies in. */
#include "io/foreign_folder.h"

#include <stdio.h>
#include <string.h>

#include "io/directory.h"

static const struct {
    const char *name, *what;
} signs[] = {
    {"saved_model.pb", "a TensorFlow SavedModel, which is a program: save its arrays as safetensors"},
    {"manifest.ocdbt", "a checkpoint of Orbax (JAX): save its arrays as safetensors, or its state by flax's msgpack"},
    {"_METADATA", "a checkpoint of Orbax (JAX): save its arrays as safetensors, or its state by flax's msgpack"},
    {"_CHECKPOINT_METADATA", "a checkpoint of Orbax (JAX): save its arrays as safetensors"},
    {".zarray", "an array of Zarr: save it as safetensors"},
    {".zgroup", "a group of Zarr: save its arrays as safetensors"},
    {"pytorch_model.bin.index.json", "a model of transformers in parts: give one of the .bin files"},
    {"model.safetensors.index.json", "a model of transformers in parts: give one of the .safetensors files"},
    {".metadata", "a distributed checkpoint of PyTorch: merge it by torch.distributed.checkpoint.format_utils"},
    {"latest", "a checkpoint of DeepSpeed, perhaps: merge it by zero_to_fp32.py"},
};

static int is_weights(const char *name)
{
    static const char *const endings[] = {".safetensors", ".pt", ".pth", ".ckpt", ".bin", ".pkl", ".msgpack", NULL};
    const size_t n = strlen(name);
    for (int i = 0; endings[i]; i++)
        if (n > strlen(endings[i]) && strcmp(name + n - strlen(endings[i]), endings[i]) == 0) return 1;
    return 0;
}

static cm_status refuse(const cm_input *in, const cm_names *names)
{
    enum { SHOWN = 3 };
    char list[400] = "";
    size_t at = 0, found = 0;
    for (size_t s = 0; s < sizeof signs / sizeof *signs; s++)
        for (size_t i = 0; i < names->count; i++)
            if (strcmp(names->name[i], signs[s].name) == 0)
                CM_FAIL(CM_ERR_UNSUPPORTED, "%s: this folder is %s", in->name, signs[s].what);
    for (size_t i = 0; i < names->count; i++)
        if (is_weights(names->name[i]) && found++ < SHOWN)
            at += (size_t)snprintf(list + at, sizeof list - at, "%s'%.100s'", at ? ", " : "", names->name[i]);
    CM_FAIL(
        CM_ERR_IO,
        "cannot read '%s': not a regular file, and not a folder of diffusers, which has a file model_index.json or "
        "config.json; %s%s%s",
        in->name, found ? "give one of the files in it: " : "there are no files of weights in it", list,
        found > SHOWN ? ", ..." : "");
}

cm_status cmi_foreign_folder(const cm_input *in)
{
    cm_names names;
    CM_TRY(cmi_directory_list(in->context, in->name, &names));
    cm_status status = refuse(in, &names);
    cmi_names_free(&names);
    return status;
}
