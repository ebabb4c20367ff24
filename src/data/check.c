/* check.c - a look through a whole set before it is used: damaged and left-out files, equal pictures, small classes.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <xxhash.h>

#include "data/dataset.h"

enum { CLASS_LEAST = 20, TEXT = 1200, NAME = 240 };

static const cm_choice kinds[] = {
    {"damaged", "a picture that cannot be read"},
    {"format", "a picture of a format that is not read"},
    {"contradiction", "one picture in two classes"},
    {"class", "a class with too few pictures"},
    {"size", "a picture of another size than the images, where nothing is cut"},
    {"left-out", "a file that is no picture of the set"},
    {"duplicate", "a picture that is there before"},
    {"enlarged", "pictures that are smaller than the images"},
    {"gray", "no picture has a colour"},
    {NULL, NULL},
};
CM_CHOICE_LIST(cmi_dataset_finding_choices, "dataset_findings", kinds);

/* The pixels of a picture, by their hash. */
typedef struct {
    XXH128_hash_t hash;
    size_t i, first; /* the first picture with the same */
} print;

typedef struct {
    cm_dataset *d;
    const cm_dataset_check_options *o;
    cm_dataset_report *r;
    print *prints;
    uint64_t *counts; /* readable pictures of each class */
    size_t first_enlarged;
} search;

CM_PRINTF(3, 4) static void tell(search *s, cm_dataset_finding kind, const char *format, ...)
{
    char text[TEXT];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    s->r->findings++;
    if (kind <= CM_FINDING_SIZE) s->r->is_sound = 0;
    if (s->o->found) s->o->found(s->o->found_user, (int32_t)kind, text);
}

/* --- each picture --------------------------------------------------------------------------- */

static int is_gray(const cm_picture *p)
{
    const size_t n = (size_t)p->height * (size_t)p->width;
    for (size_t k = 0; k < n; k++)
        if (p->pixels[3 * k] != p->pixels[3 * k + 1] || p->pixels[3 * k] != p->pixels[3 * k + 2]) return 0;
    return 1;
}

static void note_size(search *s, size_t i, const cm_picture *p)
{
    const cm_dataset *d = s->d;
    cm_dataset_report *r = s->r;
    char name[NAME];
    if (!r->images || p->height < r->least_height) r->least_height = p->height;
    if (!r->images || p->width < r->least_width) r->least_width = p->width;
    if (p->height > r->most_height) r->most_height = p->height;
    if (p->width > r->most_width) r->most_width = p->width;
    if (d->source->raw) return;
    if (d->o.random_crop == CM_CROP_NONE) {
        if (p->height != d->o.height || p->width != d->o.width)
            tell(s, CM_FINDING_SIZE, "%s: %d x %d, and the images are %d x %d",
                 cmi_dataset_picture_name(d, i, name, sizeof name), p->height, p->width, d->o.height, d->o.width);
    } else if ((p->height < d->o.height || p->width < d->o.width) && r->enlarged++ == 0) {
        s->first_enlarged = i;
    }
}

static void note_picture(search *s, size_t i, const cm_picture *p)
{
    const size_t bytes = (size_t)p->height * (size_t)p->width * 3;
    /* The width is a part: pictures of one colour in other shapes have the same bytes. */
    s->prints[s->r->images].hash = XXH3_128bits_withSeed(p->pixels, bytes, (XXH64_hash_t)p->width);
    s->prints[s->r->images].i = i;
    note_size(s, i, p);
    s->r->gray += (uint64_t)is_gray(p);
    s->r->images++;
    if (s->d->labels && s->d->labels[i] >= 0) s->counts[s->d->labels[i]]++;
}

static cm_status look_at(search *s, size_t i)
{
    cm_dataset *d = s->d;
    char name[NAME];
    cm_picture p;
    cm_status status = d->source->kind->picture(d->source, i, 3, &p);
    if (status == CM_OK) {
        note_picture(s, i, &p);
        cmi_free(d->context, p.pixels);
        return CM_OK;
    }
    if (!cmi_dataset_is_damage(status)) return status;
    s->r->damaged++;
    tell(s, CM_FINDING_DAMAGED, "%s: %s", cmi_dataset_picture_name(d, i, name, sizeof name), cm_last_message());
    return CM_OK;
}

static cm_status look_at_all(search *s)
{
    const size_t n = s->d->source->count;
    for (size_t i = 0; i < n; i++) {
        CM_TRY(cmi_call_check(&s->d->call));
        if (s->o->progress && s->o->progress(s->o->progress_user, i, n)) CM_FAIL(CM_ERR_CANCELLED, "cancelled");
        CM_TRY(look_at(s, i));
    }
    if (s->o->progress && s->o->progress(s->o->progress_user, n, n)) CM_FAIL(CM_ERR_CANCELLED, "cancelled");
    return CM_OK;
}

/* --- all of them together --------------------------------------------------------------------- */

static int by_hash(const void *a, const void *b)
{
    const print *x = a, *y = b;
    if (x->hash.high64 != y->hash.high64) return x->hash.high64 < y->hash.high64 ? -1 : 1;
    if (x->hash.low64 != y->hash.low64) return x->hash.low64 < y->hash.low64 ? -1 : 1;
    return x->i < y->i ? -1 : x->i > y->i;
}

static int by_number(const void *a, const void *b)
{
    const print *x = a, *y = b;
    return x->i < y->i ? -1 : x->i > y->i;
}

static const char *class_text(const cm_dataset *d, int32_t label, char *text, size_t size)
{
    const char *name = d->classes && label >= 0 && label < d->n_classes ? d->classes[label] : NULL;
    (void)snprintf(text, size, "%d%s%.80s%s", label, name ? " (" : "", name ? name : "", name ? ")" : "");
    return text;
}

static void tell_equal(search *s, size_t first, size_t i)
{
    const cm_dataset *d = s->d;
    char one[NAME], other[NAME], its[120], the_first[120];
    cmi_dataset_picture_name(d, i, one, sizeof one);
    cmi_dataset_picture_name(d, first, other, sizeof other);
    s->r->duplicates++;
    if (!d->labels || d->labels[i] == d->labels[first]) {
        tell(s, CM_FINDING_DUPLICATE, "%s: the same pixels as %s", one, other);
        return;
    }
    s->r->contradictions++;
    tell(s, CM_FINDING_CONTRADICTION, "%s, of class %s: the same pixels as %s, of class %s", one,
         class_text(d, d->labels[i], its, sizeof its), other,
         class_text(d, d->labels[first], the_first, sizeof the_first));
}

/* Equal pictures stand together by their hash; then they are told in the order of the set. */
static void compare(search *s)
{
    const size_t n = (size_t)s->r->images;
    print *p = s->prints;
    if (n > 1) qsort(p, n, sizeof *p, by_hash);
    for (size_t k = 0; k < n; k++)
        p[k].first = k && XXH128_isEqual(p[k].hash, p[k - 1].hash) ? p[k - 1].first : p[k].i;
    if (n > 1) qsort(p, n, sizeof *p, by_number);
    for (size_t k = 0; k < n; k++)
        if (p[k].first != p[k].i) tell_equal(s, p[k].first, p[k].i);
}

static void tell_left_out(search *s)
{
    static const char *const why[] = {"a format that is not read: convert it to JPEG or PNG", "no picture",
                                      "a link that leads nowhere", "a link to what is in the set anyway",
                                      "one of the same name comes later"};
    const cm_source *source = s->d->source;
    s->r->left_out = source->left_all;
    for (size_t i = 0; i < source->left_names; i++) {
        const cm_left_out *left = &source->left[i];
        tell(s, left->reason == CM_LEFT_FORMAT ? CM_FINDING_FORMAT : CM_FINDING_LEFT_OUT, "%.200s: %s", left->name,
             why[left->reason]);
    }
}

static void tell_classes(search *s)
{
    const uint64_t least = (uint64_t)s->o->class_least;
    char text[120];
    for (int32_t k = 0; s->d->labels && k < s->d->n_classes; k++) {
        if (s->counts[k] >= least) continue;
        if (!s->counts[k])
            tell(s, CM_FINDING_CLASS, "class %s has no picture that can be read",
                 class_text(s->d, k, text, sizeof text));
        else
            tell(s, CM_FINDING_CLASS, "class %s has %llu picture%s: fewer than %llu",
                 class_text(s->d, k, text, sizeof text), (unsigned long long)s->counts[k],
                 s->counts[k] == 1 ? "" : "s", (unsigned long long)least);
    }
}

static void tell_of_all(search *s)
{
    const cm_dataset *d = s->d;
    const cm_dataset_report *r = s->r;
    char name[NAME];
    if (r->enlarged)
        tell(s, CM_FINDING_ENLARGED,
             "%llu of %llu pictures are smaller than the images of %d x %d and are enlarged; the first: %s",
             (unsigned long long)r->enlarged, (unsigned long long)r->images, d->o.height, d->o.width,
             cmi_dataset_picture_name(d, s->first_enlarged, name, sizeof name));
    if (d->o.channels == 3 && r->images && r->gray == r->images)
        tell(s, CM_FINDING_GRAY, "no picture has a colour: one channel is enough");
}

cm_status cmi_dataset_check(cm_dataset *d, const cm_dataset_check_options *options, cm_dataset_report *r)
{
    cm_dataset_check_options o = *options;
    if (!o.class_least) o.class_least = CLASS_LEAST;
    search s = {.d = d, .o = &o, .r = r};
    memset(r, 0, sizeof *r);
    r->is_sound = 1;
    s.prints = cmi_calloc(d->context, d->source->count, sizeof *s.prints);
    s.counts = cmi_calloc(d->context, (size_t)d->n_classes + 1, sizeof *s.counts);
    cm_status status = s.prints && s.counts ? look_at_all(&s) : CM_ERR_MEMORY;
    if (status == CM_OK) {
        tell_left_out(&s);
        compare(&s);
        tell_classes(&s);
        tell_of_all(&s);
    }
    cmi_free(d->context, s.prints);
    cmi_free(d->context, s.counts);
    return status;
}
