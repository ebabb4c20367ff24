/* listing.c - the tables of presets and of training options, as the library knows them. */
#include <stdlib.h>
#include <string.h>

#include "cli.h"

int cli_list_presets(const cli *c)
{
    for (size_t i = 0; cm_train_preset_name(i); i++) {
        const char *source = cm_train_preset_source(i);
        char size[24] = "by pictures";
        uint64_t n = 0;
        if (cm_train_preset_config(i) && cm_model_count(NULL, cm_train_preset_config(i), &n) == CM_OK)
            (void)snprintf(size, sizeof size, "%9.3f M", (double)n / 1e6);
        if (!i || strcmp(source, cm_train_preset_source(i - 1)) != 0)
            printf("%s%s\n    %-22s %11s  what it is\n", i ? "\n" : "", source, "name", "parameters");
        printf("    %-22s %11s  %s\n", cm_train_preset_name(i), size, cm_train_preset_about(i));
    }
    return cli_end(c, CLI_OK);
}

static int is_read_by(const cm_option_info *option, size_t objective)
{
    return (option->objectives >> objective & 1) != 0;
}

static const char *objective_name(size_t objective)
{
    return cm_choice_name("objectives", objective);
}

static void print_values(const cm_option_info *o)
{
    if (o->kind == CM_OPTION_CHOICE)
        for (size_t i = 0; cm_choice_name(o->choices, i); i++)
            printf("%s%s", i ? ", " : "", cm_choice_name(o->choices, i));
    else if (o->kind == CM_OPTION_FLAG) printf("0 or 1");
    else if (o->kind == CM_OPTION_TEXT) printf("a text");
    else if (o->maximum >= 1e15) printf("%s%.10g or more", o->above_minimum ? "above " : "", o->minimum);
    else printf("%s%.10g to %.10g", o->above_minimum ? "above " : "", o->minimum, o->maximum);
    if (o->takes_auto) printf(", or auto");
}

/* Each value with the objectives that have it as their default; these are left out where all have the same. */
static void print_defaults(size_t index, const cm_option_info *o)
{
    enum { MOST = 64, SIZE = 128 };
    char text[MOST][SIZE] = {""};
    size_t n = 0, first = MOST, same = 1;
    for (; n < MOST && objective_name(n); n++) {
        if (!is_read_by(o, n) || cm_train_option_default(index, (int32_t)n, text[n], SIZE, NULL) != CM_OK) continue;
        if (first == MOST) first = n;
        same &= strcmp(text[n], text[first]) == 0;
    }
    if (first == MOST) return;
    if (o->choices && strcmp(o->choices, "objectives") == 0) same = 1; /* the default of each is itself */
    if (same) printf("%s", *text[first] ? text[first] : "an empty text");
    for (size_t i = first; i < n && !same; i++) {
        size_t before = first;
        while (before < i && !(is_read_by(o, before) && strcmp(text[before], text[i]) == 0)) before++;
        if (before < i || !is_read_by(o, i)) continue;
        printf("%s%s (", i > first ? ", " : "", text[i]);
        for (size_t k = i; k < n; k++)
            if (is_read_by(o, k) && strcmp(text[k], text[i]) == 0)
                printf("%s%s", k > i ? ", " : "", objective_name(k));
        printf(")");
    }
}

static void print_readers(const cm_option_info *o)
{
    size_t n = 0, readers = 0;
    for (; objective_name(n); n++) readers += (size_t)is_read_by(o, n);
    if (readers == n) printf("all");
    for (size_t i = 0, told = 0; i < n && readers < n; i++)
        if (is_read_by(o, i)) printf("%s%s", told++ ? ", " : "", objective_name(i));
}

int cli_list_options(const cli *c)
{
    printf("Options of training, for --set NAME=VALUE.  \"Read by\" names the objectives:\n\n");
    for (size_t i = 0; objective_name(i); i++)
        printf("    %-6s %s\n", objective_name(i), cm_choice_about("objectives", i));
    for (size_t i = 0; i < cm_train_option_count(); i++) {
        cm_option_info o = CM_OPTION_INFO_INIT;
        const cm_status status = cm_train_option_describe(i, &o);
        if (status != CM_OK) return cli_fail(c, status);
        printf("\n%-17s %s\n    values:  ", o.name, o.about);
        print_values(&o);
        printf("\n    default: ");
        print_defaults(i, &o);
        printf("\n    read by: ");
        print_readers(&o);
        printf("\n");
    }
    return cli_end(c, CLI_OK);
}
