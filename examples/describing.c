/* describing.c - a file of tensors in words. */
#include "describing.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

enum { SHOWN_CLASSES = 100, SHOWN_TENSORS = 8, DTYPES = 14 };

const char *describe_dtype(int32_t dtype)
{
    static const char *const names[DTYPES] = {"?",   "F32", "BF16", "F16",  "U8",  "I32", "I64",
                                              "F64", "I8",  "I16",  "BOOL", "U16", "U32", "U64"};
    return names[dtype > 0 && dtype < DTYPES ? dtype : 0];
}

int describe_has_classes(const cm_model *model, int32_t classes)
{
    for (int32_t k = 0; k < classes; k++)
        if (cm_model_class_name(model, k)) return 1;
    return 0;
}

static double mebibytes(uint64_t bytes)
{
    return (double)bytes / 1048576;
}

static void print_line(const char *head, const char *text)
{
    fputs(head, stdout);
    cli_print_text(stdout, text, 0);
    putchar('\n');
}

/* --- tensors ---------------------------------------------------------------------------- */

static cm_status list_tensors(const cm_checkpoint *file, uint64_t most)
{
    for (size_t i = 0; i < most; i++) {
        const char *name;
        int32_t rank, dtype;
        int64_t shape[8];
        cm_status status = cm_checkpoint_tensor(file, i, &name, &rank, shape, &dtype);
        if (status != CM_OK) return status;
        printf("  ");
        cli_print_text(stdout, name, 56);
        printf(" %-4s [", describe_dtype(dtype));
        for (int k = 0; k < rank; k++) printf("%s%" PRId64, k ? ", " : "", shape[k]);
        printf("]\n");
    }
    return CM_OK;
}

static void list_types(const cm_checkpoint *file, uint64_t n)
{
    uint64_t of[DTYPES] = {0};
    const char *comma = ": ";
    for (size_t i = 0; i < n; i++) {
        int32_t dtype = 0;
        if (cm_checkpoint_tensor(file, i, NULL, NULL, NULL, &dtype) == CM_OK && dtype < DTYPES) of[dtype]++;
    }
    for (int32_t k = 0; k < DTYPES; k++)
        if (of[k]) printf("%s%" PRIu64 " %s", comma, of[k], describe_dtype(k)), comma = ", ";
    putchar('\n');
}

/* --- the file ------------------------------------------------------------------------------ */

static void list_classes(const cm_model *model, int32_t classes)
{
    if (!describe_has_classes(model, classes)) return;
    printf("  classes     ");
    for (int32_t k = 0; k < classes && k < SHOWN_CLASSES; k++) {
        const char *name = cm_model_class_name(model, k);
        printf("%s %d ", k ? "," : "", k);
        cli_print_text(stdout, name ? name : "(no name)", 0);
    }
    printf(classes > SHOWN_CLASSES ? ", ... (%d in all)\n" : "\n", classes);
}

/* How it is sampled from where a call does not say, as in "method heun, steps 40". */
static void list_sampling(const char *config)
{
    const char *key, *between = "  sampling     ";
    json_t *value, *all = json_loads(config, 0, NULL);
    json_object_foreach(json_object_get(all, "sampling"), key, value)
    {
        char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT | JSON_REAL_PRECISION(6));
        printf("%s%s %s", between, key, text ? text : "?");
        free(text);
        between = ", ";
    }
    if (*between == ',') printf("\n");
    json_decref(all);
}

static cm_status describe_model(const cm_model *model)
{
    cm_model_info i = CM_MODEL_INFO_INIT;
    cm_status status = cm_model_info_get(model, &i);
    if (status != CM_OK) return status;
    printf("  network      %s, %" PRIu64 " parameters in %" PRIu64 " tensors, %.1f MiB\n", i.network, i.parameters,
           i.tensors, mebibytes(i.weight_bytes));
    printf("  images       %d x %d, %d channel%s, ", i.width, i.height, i.channels, i.channels == 1 ? "" : "s");
    printf(i.num_classes ? "%d classes\n" : "no classes\n", i.num_classes);
    list_classes(model, i.num_classes);
    printf("  precond      %s: %s model, sigma %g..%g, sigma_data %g\n", i.precond,
           i.is_consistency ? "consistency" : "diffusion", i.sigma_min, i.sigma_max, i.sigma_data);
    list_sampling(i.config_json);
    print_line("  config       ", i.config_json);
    return CM_OK;
}

static void describe_sets(const cm_checkpoint *file, const cm_checkpoint_info *i)
{
    if (!i->sets && !i->weights) return;
    printf("  weights      ");
    cli_print_text(stdout, i->weights ? i->weights : "all sets", 0);
    for (size_t k = 0; k < i->sets; k++) {
        printf(k ? ", " : "; --weights takes ");
        cli_print_text(stdout, cm_checkpoint_set_name(file, k), 0);
    }
    putchar('\n');
}

static void describe_notes(const cm_checkpoint *file, const cm_checkpoint_info *i)
{
    const char *key, *value;
    for (size_t k = 0; k < i->notes; k++) {
        if (cm_checkpoint_note(file, k, &key, &value) != CM_OK) return;
        if (i->kind == CM_CHECKPOINT_MODEL && strncmp(key, "consistency.", 12) == 0)
            continue; /* is in the configuration */
        printf("  note         ");
        cli_print_text(stdout, key, 0);
        print_line(": ", value);
    }
}

cm_status describe_text(const char *path, const cm_checkpoint *file, int all_tensors)
{
    cm_checkpoint_info i = CM_CHECKPOINT_INFO_INIT;
    cm_status status = cm_checkpoint_info_get(file, &i);
    if (status != CM_OK) return status;
    const int is_model = i.kind == CM_CHECKPOINT_MODEL;
    const uint64_t few = i.tensors < SHOWN_TENSORS ? i.tensors : SHOWN_TENSORS;
    printf("%s\n  format       %s, %" PRIu64 " bytes\n  holds        %s\n", path, i.format, i.bytes, i.about);
    if (is_model) status = describe_model(cm_checkpoint_model(file));
    describe_sets(file, &i);
    describe_notes(file, &i);
    printf("  tensors      %" PRIu64 " of %" PRIu64 " values, %.1f MiB", i.tensors, i.values,
           mebibytes(i.tensor_bytes));
    list_types(file, i.tensors);
    if (i.problem && i.kind != CM_CHECKPOINT_MISFIT) print_line("  no model     ", i.problem);
    if (status == CM_OK) status = list_tensors(file, all_tensors ? i.tensors : is_model ? 0 : few);
    if (!all_tensors && !is_model && few < i.tensors)
        printf("  ... and %" PRIu64 " more: --tensors lists them\n", i.tensors - few);
    return status;
}

void describe_report(const cm_checkpoint_report *r)
{
    printf("  check        %s: %" PRIu64 " bytes of tensors read, %" PRIu64 " checksums right, %" PRIu64
           " parts without one, %" PRIu64 " values NaN and %" PRIu64 " infinite in %" PRIu64 " tensors\n",
           r->is_sound ? "sound" : "NOT SOUND", r->bytes, r->checksums, r->without_checksum, r->nan_values,
           r->infinite_values, r->nonfinite_tensors);
}
