/* info.c - cm-info: what a file of tensors is and holds, whether it is whole, and what this machine is. */
#include <stdlib.h>
#include <string.h>

#include "describing.h"
#include "note.h"
#include "sampling.h"

static const cli_option options[] = {
    {"tensors", 0, NULL, "list every tensor with its type and shape"},
    {"check", 0, NULL, "read everything and tell what is amiss: values that are not finite, bytes that are missing"},
    {"config", 0, "JSON", "the configuration of a file that carries none, or the name of a file with it"},
    {"weights", 0, "NAME", "which of a checkpoint's sets of weights (ema, model, ...); the average"},
    {"machine", 0, NULL, "show the version, the libraries and the instruction set"},
    {"json", 0, NULL, "print the report as JSON"},
    {"quiet", 'q', NULL,
     "print no report: the exit code says whether the file reads, with --check whether it is sound"},
};
enum { TENSORS, CHECK, CONFIG, WEIGHTS, MACHINE, JSON, QUIET, N_OPTIONS };

typedef struct {
    int tensors, check, machine, json, quiet, picture;
    cm_checkpoint_options open;
} choices;

/* What a check has found, kept until it is printed. */
typedef struct {
    char **texts;
    size_t count;
} findings;

static choices read_options(cli *c)
{
    choices o = {.tensors = 0};
    const char *value;
    cm_checkpoint_options_init(&o.open, sizeof o.open);
    for (int i; (i = cli_next(c, &value)) >= 0;) {
        if (i == TENSORS) o.tensors = 1;
        if (i == CHECK) o.check = 1;
        if (i == CONFIG) o.open.config_json = cli_json_argument(c, "config", value);
        if (i == WEIGHTS) o.open.weights = value;
        if (i == MACHINE) o.machine = 1;
        if (i == JSON) o.json = 1;
        if (i == QUIET) o.quiet = 1;
    }
    if (o.quiet && (o.tensors || o.json || o.machine))
        cli_usage_error(c, "--quiet prints nothing: leave out what asks for a report");
    if (o.machine && c->n_operands) cli_usage_error(c, "--machine takes no file");
    if (!o.machine && c->n_operands != 1) cli_usage_error(c, "give one file");
    sampling_paths(c, 1, o.quiet || o.json);
    o.picture = !o.machine && note_is_picture(c->operands[0]);
    if (o.picture && (o.tensors || o.check || o.open.config_json || o.open.weights))
        cli_usage_error(c, "--%s has no effect on a picture",
                        o.tensors            ? "tensors"
                        : o.check            ? "check"
                        : o.open.config_json ? "config"
                                             : "weights");
    return o;
}

static void show_machine(int json)
{
    if (!json) {
        printf("%s\n", cm_build_info());
        return;
    }
    printf("{\"build\": ");
    cli_json_string(stdout, cm_build_info());
    printf("}\n");
}

static void keep_finding(void *user, const char *text)
{
    findings *f = user;
    char **longer = realloc(f->texts, (f->count + 1) * sizeof *longer);
    if (!longer) return;
    f->texts = longer;
    f->texts[f->count] = strdup(text);
    if (f->texts[f->count]) f->count++;
}

static cm_status check(const cm_checkpoint *file, int quiet, findings *f, cm_checkpoint_report *report)
{
    cm_checkpoint_check_options o = CM_CHECKPOINT_CHECK_OPTIONS_INIT;
    cli_progress progress;
    cli_progress_begin(&progress, "checking", quiet);
    cli_catch_signals();
    o.progress = cli_progress_step;
    o.progress_user = &progress;
    o.found = keep_finding;
    o.found_user = f;
    cm_status status = cm_checkpoint_check(file, &o, report);
    cli_progress_end(&progress);
    return status;
}

static cm_status describe(const char *path, const cm_checkpoint *file, const choices *o,
                          const cm_checkpoint_report *report, const findings *f)
{
    if (o->quiet) return CM_OK;
    if (o->json) return describe_json(path, file, o->tensors, o->check ? report : NULL, f->texts, f->count);
    cm_status status = describe_text(path, file, o->tensors);
    for (size_t i = 0; i < f->count; i++) {
        printf("  found        ");
        cli_print_text(stdout, f->texts[i], 0);
        putchar('\n');
    }
    if (status == CM_OK && o->check) describe_report(report);
    return status;
}

/* The end of a file that reads: what it says of itself may be wrong, and a check may find something. */
static int judge(const cli *c, const cm_checkpoint *file, const choices *o, const cm_checkpoint_report *report)
{
    cm_checkpoint_info info = CM_CHECKPOINT_INFO_INIT;
    if (cm_checkpoint_info_get(file, &info) != CM_OK) return CLI_FAILED;
    if (info.kind == CM_CHECKPOINT_MISFIT) {
        fprintf(stderr, "%s: ", c->program);
        cli_print_text(stderr, info.problem, 0);
        fputc('\n', stderr);
        return CLI_FAILED;
    }
    if (!o->check || report->is_sound) return CLI_OK;
    fprintf(stderr, "%s: %s is not sound: %llu findings\n", c->program, c->operands[0],
            (unsigned long long)report->findings);
    return CLI_FAILED;
}

int main(int argc, char **argv)
{
    cli c = {.program = "cm-info", .options = options, .n_options = N_OPTIONS, .argc = argc, .argv = argv};
    c.usage = "FILE [options]   or   cm-info --machine\n"
              "FILE is a file or a folder of weights, the directory of a run, or a picture, of which it says how\n"
              "cm-sample drew it";
    cm_context *context = NULL;
    cm_checkpoint *file = NULL;
    cm_checkpoint_report report = CM_CHECKPOINT_REPORT_INIT;
    findings found = {NULL, 0};
    cli_begin();
    const choices o = read_options(&c);
    if (o.machine) {
        show_machine(o.json);
        return cli_end(&c, CLI_OK);
    }
    if (o.picture) {
        const cm_status read = note_describe(c.operands[0], o.json, o.quiet);
        return cli_end(&c, read == CM_OK ? CLI_OK : cli_fail(&c, read));
    }
    cm_status status = cli_context(&c, &context);
    if (status == CM_OK) status = cm_checkpoint_open(context, c.operands[0], &o.open, &file);
    cm_context_free(context); /* the file keeps it */
    if (status == CM_OK && o.check) status = check(file, o.quiet, &found, &report);
    if (status == CM_OK) status = describe(c.operands[0], file, &o, &report, &found);
    int code = status == CM_OK ? judge(&c, file, &o, &report) : cli_fail(&c, status);
    cm_checkpoint_free(file);
    for (size_t i = 0; i < found.count; i++) free(found.texts[i]);
    free(found.texts);
    return cli_end(&c, code);
}
