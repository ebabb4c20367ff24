/* Any bytes in the place of a file of a training's checkpoint: resuming goes on or refuses.  The first byte says
 * which file; sizes and hashes in state.json are made right for the others, so that what reads them is reached.  A
 * trainer that went on can be saved, and resumed from that. */
#include <sys/stat.h>

#include "fuzz/watched.h"
#include "io/directory.h"
#include "train/state.h"

static const char *const files[] = {"state.json", "model.safetensors", "ema-0.9.safetensors", "optimizer.safetensors",
                                    "LATEST"};
enum { FILES = sizeof files / sizeof *files, PATH = 200 };

static char good[PATH], run[PATH], step[PATH];
static cm_context *own; /* of what is done around the work */

static cm_status make_trainer(cm_context *context, cm_trainer **out)
{
    static const char *const config =
        "{\"network\": {\"type\": \"songunet\", \"img_resolution\": 8, \"img_channels\": 1, \"model_channels\": 4, "
        "\"channel_mult\": [1], \"num_blocks\": 1, \"attn_resolutions\": []}, \"precond\": {\"type\": \"edm\"}}";
    cm_train_inputs inputs = CM_TRAIN_INPUTS_INIT;
    cm_train_options *o = NULL;
    cm_model *m = NULL;
    *out = NULL;
    cm_status status = cm_model_create(context, config, 1, &m);
    if (status == CM_OK) status = cm_train_options_create(context, &o);
    if (status == CM_OK) status = cm_train_options_set(o, "batch", "2");
    if (status == CM_OK) status = cm_train_options_set(o, "ema", "0.9");
    inputs.model = m;
    if (status == CM_OK) status = cm_trainer_create(&inputs, o, out);
    cm_train_options_free(o);
    cm_model_free(m);
    return status;
}

/* A folder with a good checkpoint, made once. */
static void make_good(void)
{
    cm_trainer *t;
    (void)snprintf(good, sizeof good, "%s/good", fuzz_folder());
    (void)snprintf(run, sizeof run, "%s/run", fuzz_folder());
    (void)snprintf(step, sizeof step, "%s/run/checkpoints/step-000000000", fuzz_folder());
    if (cm_context_create(NULL, &own) != CM_OK || make_trainer(own, &t) != CM_OK ||
        cm_trainer_save(t, good, 0) != CM_OK)
        fuzz_fail("no checkpoint");
    cm_trainer_free(t);
}

static void put(const char *path, const uint8_t *data, size_t size)
{
    FILE *f = fopen(path, "wb");
    if (!f || fwrite(data, 1, size, f) != size) fuzz_fail("the input cannot be written");
    (void)fclose(f);
}

/* What state.json says of the file becomes true; format 1 has no hash of state.json itself. */
static void vouch(const char *name)
{
    char path[2 * PATH], hash[33];
    size_t size;
    (void)snprintf(path, sizeof path, "%s/%s", step, name);
    if (cmi_state_hash(own, path, &size, hash) != CM_OK) return;
    (void)snprintf(path, sizeof path, "%s/state.json", step);
    json_t *state = json_load_file(path, 0, NULL), *entry = json_object_get(json_object_get(state, "files"), name);
    (void)json_object_set_new(state, "format", json_integer(1));
    if (json_object_set_new(entry, "bytes", json_integer((json_int_t)size)) == 0 &&
        json_object_set_new(entry, "xxh3_128", json_string(hash)) == 0)
        (void)json_dump_file(state, path, 0);
    json_decref(state);
}

static void lay_out(const uint8_t *data, size_t size)
{
    char command[4 * PATH], path[2 * PATH];
    const char *name = files[size ? data[0] % FILES : 0];
    if (!good[0]) make_good();
    (void)snprintf(command, sizeof command, "rm -rf %s; cp -r %s %s", run, good, run);
    if (access(step, F_OK) != 0 && system(command) != 0) fuzz_fail("no copy");
    (void)snprintf(path, sizeof path, strcmp(name, "LATEST") ? "%s/%s" : "%s/../%s", step, name);
    put(path, data + 1, size ? size - 1 : 0);
    if (strcmp(name, "LATEST") != 0 && strcmp(name, "state.json") != 0) vouch(name);
}

/* The changed file becomes the good one. */
static void mend(const uint8_t *data, size_t size)
{
    const char *name = files[size ? data[0] % FILES : 0];
    char from[2 * PATH], to[2 * PATH];
    const char *const names[2] = {name, "state.json"};
    for (int i = 0; i < 2; i++) {
        static uint8_t bytes[1 << 16];
        const char *inner = strcmp(names[i], "LATEST") ? "step-000000000/" : "";
        (void)snprintf(from, sizeof from, "%s/checkpoints/%s%s", good, inner, names[i]);
        (void)snprintf(to, sizeof to, "%s/checkpoints/%s%s", run, inner, names[i]);
        FILE *f = fopen(from, "rb");
        if (!f) continue;
        put(to, bytes, fread(bytes, 1, sizeof bytes, f));
        (void)fclose(f);
    }
}

static cm_status work(cm_context *context, const uint8_t *data, size_t size)
{
    cm_trainer *t, *again = NULL;
    char other[2 * PATH];
    uint64_t steps, after;
    CM_TRY(make_trainer(context, &t));
    cm_status status = cm_trainer_resume(t, run, NULL, size > 1 ? data[1] % 3 : 0);
    (void)snprintf(other, sizeof other, "%s/other", fuzz_folder());
    if (status == CM_OK && cm_trainer_steps(t, &steps) == CM_OK) {
        if (steps > (uint64_t)INT64_MAX) fuzz_fail("a step that is none");
        status = cm_trainer_save(t, other, 1);
        cm_trainer_free(t);
        t = NULL;
        if (status == CM_OK) status = make_trainer(context, &again);
        if (status == CM_OK) {
            status = cm_trainer_resume(again, other, NULL, CM_RESUME_ANY);
            if (status != CM_OK && status != CM_ERR_MEMORY) fuzz_fail("what was saved is refused");
            if (status == CM_OK && (cm_trainer_steps(again, &after) != CM_OK || steps != after))
                fuzz_fail("the step changes in saving");
        }
        cm_trainer_free(again);
        (void)cmi_directory_remove(other);
    }
    cm_trainer_free(t);
    return status;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    lay_out(data, size);
    (void)fuzz_watched(work, data, size, 0);
    mend(data, size);
    return 0;
}
