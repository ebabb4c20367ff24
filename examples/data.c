/* data.c - cm-data: looks at a set of pictures before a long run, draws it, and packs it into one file. */
#include <stdlib.h>
#include <string.h>

#include "data_page.h"

enum {
    SIZE,
    LABELS,
    CLASS_NAMES,
    CROP,
    GRAY,
    LEAST,
    JSON,
    OUTPUT,
    ROWS,
    COLUMNS,
    MARGIN,
    FLIP,
    SEED,
    IMAGES,
    FORCE,
    QUIET
};
static const cli_option options[] = {
    {"size", 0, "N", "the side of the images in pixels (the short side of the first picture)"},
    {"labels", 'l', "RULE", "where classes come from: {label_rules}"},
    {"class-names", 0, "LIST", "a name for each class with commas between them, in place of those of the set"},
    {"crop", 0, "HOW", "{center|random|none}: the middle, 80 to 100 % somewhere, or pictures as they are (center)"},
    {"gray", 0, NULL, "images of one channel; colours become their luminance"},
    {"least", 0, "N", "check: the pictures that a class needs (20)"},
    {"json", 0, NULL, "print the report as JSON"},
    {"output", 'o', "FILE", "show: write this page, .png or .jpg (data.png); pack: write this archive, .tar"},
    {"rows", 0, "N", "show: the number of rows of the page (8)"},
    {"columns", 0, "N", "show: the number of columns: classes, where the set has some (as many, at most 16; 8)"},
    {"margin", 0, "PIXELS", "show: the space around each image (2)"},
    {"flip", 0, "P", "show: the share of images that are mirrored, as --set flip=P of cm-train (0)"},
    {"seed", 's', "N", "show: the number that order, crops and mirrored images follow from (0)"},
    {"images", 0, NULL, "pack: the images, cut and scaled to --size, instead of the files as they are"},
    {"force", 0, NULL, "replace files that exist"},
    {"quiet", 'q', NULL, "print neither progress nor a report, but that of --json"},
};
enum { N_OPTIONS = sizeof options / sizeof *options };

enum { CHECK, SHOW, PACK, N_TASKS };
static const char *const tasks[] = {"check", "show", "pack", NULL};
/* The tasks that read an option, one bit for each; all read what is not here. */
static const int readers[N_OPTIONS] = {
    [CLASS_NAMES] = 1 << CHECK | 1 << SHOW,
    [LEAST] = 1 << CHECK,
    [JSON] = 1 << CHECK | 1 << PACK | 1 << SHOW,
    [OUTPUT] = 1 << SHOW | 1 << PACK,
    [ROWS] = 1 << SHOW,
    [COLUMNS] = 1 << SHOW,
    [MARGIN] = 1 << SHOW,
    [FLIP] = 1 << SHOW,
    [SEED] = 1 << SHOW,
    [IMAGES] = 1 << PACK,
    [FORCE] = 1 << SHOW | 1 << PACK,
};

typedef struct {
    cli c;
    const char *values[N_OPTIONS];
    int task;
    cm_context *context;
    cm_dataset *set;
    cm_dataset_info info;
    cm_dataset_report report;
    char **findings; /* "kind", then its sentence */
    size_t n_findings;
    cli_progress progress;
} program;

/* --- what was asked for --------------------------------------------------------------------- */

static void read_command(program *p)
{
    const cli *c = &p->c;
    cli_all(&p->c, p->values, -1, NULL, 0);
    if (c->n_operands != 2) cli_usage_error(c, "give a task, check, show or pack, and one set of pictures");
    p->task = cli_choice(c, NULL, c->operands[0], tasks);
    for (int i = 0; i < N_OPTIONS; i++)
        if (p->values[i] && readers[i] && !(readers[i] & 1 << p->task))
            cli_usage_error(c, "--%s has no effect with %s", options[i].name, tasks[p->task]);
    if (p->task == PACK && !p->values[OUTPUT]) cli_usage_error(c, "pack: give --output FILE.tar");
    if (p->task == PACK && !p->values[IMAGES] && (p->values[SIZE] || p->values[CROP] || p->values[GRAY]))
        cli_usage_error(c, "pack: --%s has no effect without --images: files are packed as they are",
                        p->values[SIZE]   ? "size"
                        : p->values[CROP] ? "crop"
                                          : "gray");
}

static cm_status open_set(program *p)
{
    static const char *const crops[] = {"center", "random", "none", NULL};
    const cli *c = &p->c;
    const char *const *v = p->values;
    cm_dataset_options o = CM_DATASET_OPTIONS_INIT;
    if (v[SIZE]) o.height = o.width = (int32_t)cli_integer(c, "size", v[SIZE], 1, 65535);
    if (v[LABELS]) o.labels = cli_listed(c, "labels", v[LABELS], "label_rules");
    o.class_names = v[CLASS_NAMES];
    if (v[CROP]) o.random_crop = cli_choice(c, "crop", v[CROP], crops);
    if (v[GRAY]) o.channels = 1;
    if (v[SEED]) o.seed = cli_seed(c, "seed", v[SEED]);
    cm_status status = cm_dataset_open(p->context, c->operands[1], &o, &p->set);
    return status == CM_OK ? cm_dataset_info_get(p->set, &p->info) : status;
}

/* --- check ------------------------------------------------------------------------------------ */

static void keep(void *user, int32_t kind, const char *finding)
{
    program *p = user;
    char **longer = realloc(p->findings, (p->n_findings + 1) * 2 * sizeof *longer);
    if (!longer) return;
    p->findings = longer;
    longer[2 * p->n_findings] = strdup(cm_choice_name("dataset_findings", (size_t)kind));
    longer[2 * p->n_findings + 1] = strdup(finding);
    p->n_findings++;
}

static cm_status check(program *p)
{
    cm_dataset_check_options o = CM_DATASET_CHECK_OPTIONS_INIT;
    const char *least = p->values[LEAST];
    if (least) o.class_least = (int32_t)cli_integer(&p->c, "least", least, 1, INT32_MAX);
    o.progress = cli_progress_step;
    o.progress_user = &p->progress;
    o.found = keep;
    o.found_user = p;
    cli_progress_begin(&p->progress, "checking", p->values[QUIET] != NULL);
    cm_status status = cm_dataset_check(p->set, &o, &p->report);
    cli_progress_end(&p->progress);
    return status;
}

static uint64_t *count_classes(const program *p)
{
    uint64_t *counts = p->info.classes ? calloc((size_t)p->info.classes, sizeof *counts) : NULL;
    if (counts) (void)cm_dataset_class_counts(p->set, (size_t)p->info.classes, counts);
    return counts;
}

static void print_classes(const program *p)
{
    uint64_t *counts = count_classes(p);
    if (!counts) {
        printf("  classes      none\n");
        return;
    }
    printf("  classes      %d, from %s\n", p->info.classes, p->info.classes_from);
    for (int32_t k = 0; k < p->info.classes; k++) {
        const char *name = cm_dataset_class_name(p->set, k);
        printf("  %10d   ", k);
        cli_print_text(stdout, name ? name : "", 24);
        printf(" %8llu\n", (unsigned long long)counts[k]);
    }
    free(counts);
}

static void print_report(const program *p)
{
    const cm_dataset_report *r = &p->report;
    cli_print_text(stdout, p->c.operands[1], 0);
    printf("\n  kind         %s\n  pictures     %llu", p->info.kind, (unsigned long long)r->images);
    if (r->images && (r->least_height != r->most_height || r->least_width != r->most_width))
        printf(", of %d x %d to %d x %d", r->least_height, r->least_width, r->most_height, r->most_width);
    else if (r->images) printf(", of %d x %d", r->most_height, r->most_width);
    printf("\n  images       %d x %d, %d channel%s\n", p->info.height, p->info.width, p->info.channels,
           p->info.channels == 1 ? "" : "s");
    printf("  damaged      %llu\n  left out     %llu\n  duplicates   %llu", (unsigned long long)r->damaged,
           (unsigned long long)r->left_out, (unsigned long long)r->duplicates);
    if (r->contradictions) printf(", %llu of them in two classes", (unsigned long long)r->contradictions);
    putchar('\n');
    print_classes(p);
    for (size_t i = 0; i < p->n_findings; i++) {
        printf("  %-12s ", p->findings[2 * i] ? p->findings[2 * i] : "");
        cli_print_text(stdout, p->findings[2 * i + 1] ? p->findings[2 * i + 1] : "", 0);
        putchar('\n');
    }
}

static void print_json_classes(const program *p)
{
    uint64_t *counts = count_classes(p);
    printf(",\n \"classes\": [");
    for (int32_t k = 0; counts && k < p->info.classes; k++) {
        const char *name = cm_dataset_class_name(p->set, k);
        printf("%s{\"number\": %d, \"name\": ", k ? ", " : "", k);
        if (name) cli_json_string(stdout, name);
        else printf("null");
        printf(", \"pictures\": %llu}", (unsigned long long)counts[k]);
    }
    printf("]");
    free(counts);
}

static void print_json(const program *p)
{
    const cm_dataset_report *r = &p->report;
    const struct {
        const char *name;
        uint64_t value;
    } numbers[] = {{"pictures", r->images},
                   {"damaged", r->damaged},
                   {"left_out", r->left_out},
                   {"duplicates", r->duplicates},
                   {"contradictions", r->contradictions},
                   {"enlarged", r->enlarged},
                   {"gray", r->gray}};
    printf("{\"path\": ");
    cli_json_string(stdout, p->c.operands[1]);
    printf(", \"kind\": \"%s\", \"is_sound\": %s", p->info.kind, r->is_sound ? "true" : "false");
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        printf(", \"%s\": %llu", numbers[i].name, (unsigned long long)numbers[i].value);
    printf(",\n \"channels\": %d, \"height\": %d, \"width\": %d, \"least\": [%d, %d], \"most\": [%d, %d]",
           p->info.channels, p->info.height, p->info.width, r->least_height, r->least_width, r->most_height,
           r->most_width);
    if (p->info.classes_from) printf(",\n \"classes_from\": \"%s\"", p->info.classes_from);
    print_json_classes(p);
    printf(",\n \"findings\": [");
    for (size_t i = 0; i < p->n_findings; i++) {
        printf("%s\n  {\"kind\": \"%s\", \"text\": ", i ? "," : "", p->findings[2 * i] ? p->findings[2 * i] : "");
        cli_json_string(stdout, p->findings[2 * i + 1] ? p->findings[2 * i + 1] : "");
        printf("}");
    }
    printf("]}\n");
}

static int judge(const program *p)
{
    if (p->values[JSON]) print_json(p);
    else if (!p->values[QUIET]) print_report(p);
    if (p->report.is_sound) return CLI_OK;
    fprintf(stderr, "%s: ", p->c.program);
    cli_print_text(stderr, p->c.operands[1], 0);
    fprintf(stderr, " is not sound: training would run into what is listed\n");
    return CLI_FAILED;
}

/* --- show and pack --------------------------------------------------------------------------- */

static cm_status show(program *p)
{
    const cli *c = &p->c;
    const char *const *v = p->values;
    data_page page = {.set = p->set, .info = p->info, .rows = 8, .margin = 2};
    if (v[ROWS]) page.rows = (int32_t)cli_integer(c, "rows", v[ROWS], 1, 1000);
    if (v[COLUMNS]) page.columns = (int32_t)cli_integer(c, "columns", v[COLUMNS], 1, 1000);
    if (v[MARGIN]) page.margin = (int32_t)cli_integer(c, "margin", v[MARGIN], 0, 1000);
    if (v[FLIP]) page.flip = cli_number(c, "flip", v[FLIP], 0, 1);
    if (v[SEED]) page.seed = cli_seed(c, "seed", v[SEED]);
    page.path = v[OUTPUT] ? v[OUTPUT] : "data.png";
    page.force = v[FORCE] != NULL;
    cli_progress_begin(&p->progress, "reading", v[QUIET] != NULL);
    cm_status status = data_page_draw(&page, c, &p->progress);
    cli_progress_end(&p->progress);
    if (status != CM_OK) return status;
    if (v[JSON]) {
        printf("{\"output\": ");
        cli_json_string(stdout, page.path);
        printf(", \"images\": %zu, \"empty\": %zu, \"rows\": %d, \"columns\": %d}\n", page.drawn, page.empty,
               page.rows, page.columns);
    } else if (!v[QUIET]) {
        printf("%zu images of %d x %d in %d columns: %s\n", page.drawn, p->info.height, p->info.width, page.columns,
               page.path);
    }
    return CM_OK;
}

static cm_status pack(program *p)
{
    const char *const *v = p->values;
    uint64_t packed;
    cm_dataset_pack_options o = CM_DATASET_PACK_OPTIONS_INIT;
    o.form = v[IMAGES] ? CM_PACK_IMAGES : CM_PACK_FILES;
    o.overwrite = v[FORCE] ? CM_OVERWRITE_YES : CM_OVERWRITE_NO;
    o.progress = cli_progress_step;
    o.progress_user = &p->progress;
    cli_progress_begin(&p->progress, "packing", v[QUIET] != NULL);
    cm_status status = cm_dataset_pack(p->set, v[OUTPUT], &o, &packed);
    cli_progress_end(&p->progress);
    if (status != CM_OK) return status;
    if (v[JSON]) {
        printf("{\"output\": ");
        cli_json_string(stdout, v[OUTPUT]);
        printf(", \"pictures\": %llu, \"damaged\": %llu}\n", (unsigned long long)packed,
               (unsigned long long)(p->info.images - packed));
    } else if (!v[QUIET]) {
        printf("%llu of %llu pictures: ", (unsigned long long)packed, (unsigned long long)p->info.images);
        cli_print_text(stdout, v[OUTPUT], 0);
        putchar('\n');
    }
    return CM_OK;
}

int main(int argc, char **argv)
{
    static program p;
    p.c = (cli){.program = "cm-data", .options = options, .n_options = N_OPTIONS, .argc = argc, .argv = argv};
    p.c.first = "check show pack";
    p.c.usage = "TASK PATH [options]\n"
                "TASK: check (what would go wrong in a long run), show (a page of the images as a network sees\n"
                "them), or pack (one archive that reads fast).  PATH: a folder, .tar, .zip, .npz, CIFAR-10, MNIST";
    p.c.exits = "1 too where check finds something wrong";
    p.report = (cm_dataset_report)CM_DATASET_REPORT_INIT;
    p.info = (cm_dataset_info)CM_DATASET_INFO_INIT;
    cli_begin();
    read_command(&p);
    cli_catch_signals();
    cm_status status = cli_context(&p.c, &p.context);
    if (status == CM_OK) status = open_set(&p);
    if (status == CM_OK) status = p.task == CHECK ? check(&p) : p.task == SHOW ? show(&p) : pack(&p);
    int code = status != CM_OK ? cli_fail(&p.c, status) : p.task == CHECK ? judge(&p) : CLI_OK;
    for (size_t i = 0; i < 2 * p.n_findings; i++) free(p.findings[i]);
    free(p.findings);
    cm_dataset_free(p.set);
    cm_context_free(p.context);
    return cli_end(&p.c, code);
}
