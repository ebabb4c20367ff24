/* published.c - a table of published models, and how they are told apart. */
#include "nets/published.h"

#include <stdlib.h>
#include <string.h>

/* Song et al. 2023 and its code: scripts/launch.sh for 64 and 256 pixels, the notebook of the CIFAR-10 code; Geng et
 * al. 2024; Hu et al. 2025 (CMT); Lee et al. 2024 (TCM, whose middle time on CIFAR-10 is its border); Lu and Song
 * 2024 (sCM); Karras et al. 2024 (EDM2); Zhou et al. 2024 (SiD). */
static const cm_published rows[] = {
    {CM_PUBLISHED_CD, "adm", 64, NULL, NULL, 22, 40, {0, 0}, 0},
    {CM_PUBLISHED_CD, "adm", 256, "l2", NULL, 18, 40, {0, 0}, 0},
    {CM_PUBLISHED_CD, "adm", 256, NULL, NULL, 17, 40, {0, 0}, 0},
    {CM_PUBLISHED_CT, "adm", 64, NULL, NULL, 106, 201, {0, 0}, 0},
    {CM_PUBLISHED_CT, "adm", 256, "cat", NULL, 62, 151, {0, 0}, 0},
    {CM_PUBLISHED_CT, "adm", 256, NULL, NULL, 67, 151, {0, 0}, 0},
    {CM_PUBLISHED_TEACHER, "adm", 0, NULL, "heun", 0, 0, {0, 0}, 40},
    {CM_PUBLISHED_CIFAR_CD, NULL, 32, NULL, NULL, 11, 18, {0, 0}, 0},
    {CM_PUBLISHED_ECT, "edm2", 0, NULL, NULL, 0, 0, {80, 1.526}, 0},
    {CM_PUBLISHED_ECT, NULL, 0, NULL, NULL, 0, 0, {80, 0.821}, 0},
    {CM_PUBLISHED_CMT, NULL, 0, NULL, NULL, 0, 0, {80, 0.77569}, 0},
    {CM_PUBLISHED_TCM, "edm2", 0, NULL, NULL, 0, 0, {80, 1.526}, 0},
    {CM_PUBLISHED_TCM, NULL, 0, NULL, NULL, 0, 0, {80, 1.0}, 0},
    {CM_PUBLISHED_SCM, NULL, 0, NULL, NULL, 0, 0, {80, 0.98237982862432616}, 0}, /* t = 1.1 */
    {CM_PUBLISHED_EDM2, NULL, 0, NULL, "heun", 0, 0, {0, 0}, 32},
    {CM_PUBLISHED_SID, NULL, 0, NULL, "onestep", 0, 0, {2.5, 0}, 0},
    /* Without a word about the kind: iCT and ECT. */
    {CM_PUBLISHED_CD, "songunet", 32, NULL, NULL, 0, 0, {0, 0.821}, 0},
    {CM_PUBLISHED_CT, "songunet", 32, NULL, NULL, 0, 0, {0, 0.821}, 0},
    {CM_PUBLISHED_CD, "dhariwal", 32, NULL, NULL, 0, 0, {0, 0.821}, 0},
    {CM_PUBLISHED_CT, "dhariwal", 32, NULL, NULL, 0, 0, {0, 0.821}, 0},
};

static int is_word_byte(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* The word, whatever its case, with no letter before or behind it. */
static int has_word(const char *name, const char *word)
{
    size_t n = strlen(word);
    for (size_t i = 0; name[i]; i++) {
        size_t k = 0;
        while (k < n && (name[i + k] == word[k] || name[i + k] + ('a' - 'A') == word[k])) k++;
        if (k == n && (i == 0 || !is_word_byte(name[i - 1])) && !is_word_byte(name[i + n])) return 1;
    }
    return 0;
}

const cm_published *cmi_published_find(const char *kind, const char *network, int64_t side, const char *name)
{
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const cm_published *p = &rows[i];
        if (strcmp(p->kind, kind) == 0 && (!p->network || strcmp(p->network, network) == 0) &&
            (!p->side || p->side == side) && (!p->word || (name && has_word(name, p->word))))
            return p;
    }
    return NULL;
}

/* --- which one a file is ------------------------------------------------------------------- */

/* The last `count` parts of a path: names say least about whom a folder far above belongs to. */
static const char *last_parts(const char *path, int count)
{
    const char *at = path + strlen(path);
    while (at > path && at[-1] == '/') at--;
    while (at > path && !(at[-1] == '/' && --count == 0)) at--;
    return at;
}

/* OpenAI's files are called cd_*, ct_* and edm_*, their folders for diffusers too; those of the CIFAR-10 code lie in
 * folders cd-*, ct-* and edm_*. */
static const char *kind_by_name(const char *name, const char *network, const char *precond)
{
    int adm = strcmp(network, "adm") == 0;
    if (has_word(name, "ct")) return adm ? CM_PUBLISHED_CT : NULL;
    if (has_word(name, "cd")) return adm ? CM_PUBLISHED_CD : NULL;
    if (adm && strcmp(precond, "edm") == 0 && has_word(name, "edm")) return CM_PUBLISHED_TEACHER;
    return adm && strcmp(precond, "cm") == 0 ? CM_PUBLISHED_CD : NULL;
}

/* The grid of the training: 40 points in distillation, 151 and 201 without a teacher. */
static const char *kind_by_grid(const char *grid)
{
    long points = strtol(grid, NULL, 10);
    return points == 40 ? CM_PUBLISHED_CD : points == 151 || points == 201 ? CM_PUBLISHED_CT : NULL;
}

/* The CIFAR-10 code's models: those without a teacher have no second level in it. */
static const char *kind_of_cifar(const char *name)
{
    return has_word(name, "ct") || has_word(name, "edm") ? NULL : CM_PUBLISHED_CIFAR_CD;
}

/* "network-snapshot-1.200000-403968.pkl": SiD's names have its factor alpha. */
static int has_alpha(const char *name)
{
    const char *at = strstr(name, "network-snapshot-");
    if (!at) return 0;
    at += strlen("network-snapshot-");
    size_t whole = strspn(at, "0123456789");
    return whole > 0 && at[whole] == '.' && strspn(at + whole + 1, "0123456789") == 6 && at[whole + 7] == '-';
}

/* Programs that have grown out of EDM's save the same classes. */
static const char *kind_of_edm(const char *name, const char *said)
{
    if (strcmp(said, CM_PUBLISHED_EDM) == 0)
        return has_alpha(name) || has_word(name, "sid") ? CM_PUBLISHED_SID : NULL;
    if (has_word(name, "tcm")) return CM_PUBLISHED_TCM;
    return has_word(name, "cmt") && !has_word(name, "ecm") && !has_word(name, "ect") ? CM_PUBLISHED_CMT : said;
}

static const char *kind_of(const cm_tensors *file, const char *network, const char *precond)
{
    const char *said = cmi_tensors_metadata(file, CM_NOTE_PUBLISHED);
    const char *grid = cmi_tensors_metadata(file, CM_NOTE_GRID), *name = file->input.name;
    if (said && strcmp(said, CM_PUBLISHED_CIFAR) == 0) return kind_of_cifar(last_parts(name, 4));
    if (said && (strcmp(said, CM_PUBLISHED_EDM) == 0 || strcmp(said, CM_PUBLISHED_ECT) == 0))
        return kind_of_edm(last_parts(name, 3), said);
    if (said) return said;
    if (grid) return kind_by_grid(grid);
    return kind_by_name(last_parts(name, 2), network, precond);
}

static json_t *sampling_of(const cm_published *p)
{
    if (p->grid) return json_pack("{s:[i,i,i], s:i}", "ts", 0, p->index, p->grid - 1, "grid", p->grid);
    json_t *out = json_object(), *levels = json_array();
    int failed = !out || !levels;
    for (int i = 0; i < 2 && p->levels[i] > 0; i++) failed |= json_array_append_new(levels, json_real(p->levels[i]));
    if (p->method) failed |= json_object_set_new(out, "method", json_string(p->method));
    if (p->steps) failed |= json_object_set_new(out, "steps", json_integer(p->steps));
    if (p->levels[0] > 0) failed |= json_object_set(out, "sigmas", levels);
    json_decref(levels);
    if (!failed) return out;
    json_decref(out);
    return NULL;
}

cm_status cmi_published_add(const cm_tensors *file, json_t *config)
{
    const json_t *net = json_object_get(config, "network"), *pre = json_object_get(config, "precond");
    const char *network = json_string_value(json_object_get(net, "type"));
    const char *precond = json_string_value(json_object_get(pre, "type"));
    const json_t *side = json_object_get(net, "image_size");
    if (!network || !precond || json_object_get(config, "sampling")) return CM_OK;
    const char *kind = kind_of(file, network, precond);
    if (!side) side = json_object_get(net, "img_resolution");
    const cm_published *p =
        kind ? cmi_published_find(kind, network, json_integer_value(side), last_parts(file->input.name, 2)) : NULL;
    if (!p || (!p->grid && p->levels[0] <= 0 && !p->steps)) return CM_OK;
    json_t *sampling = sampling_of(p);
    if (!sampling || json_object_set_new(config, "sampling", sampling) != 0)
        CM_FAIL(CM_ERR_MEMORY, "out of memory: configuration");
    return CM_OK;
}
