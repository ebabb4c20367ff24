/* listing.h - gathers the pictures of a folder or an archive under one rule for
 * names, links and repetitions, and says what was left out. */
#ifndef CM_DATA_LISTING_H
#define CM_DATA_LISTING_H

#include "data/names.h"
#include "data/source.h"

typedef struct cm_entry {
    char *name;   /* cleaned                                           */
    char *path;   /* as the container has it, NULL: the same           */
    char *target; /* of a hard link in an archive, cleaned; else NULL  */
    uint64_t location, size;
} cm_entry;

/* Reads up to n bytes from the beginning of a member; *got says how many. */
typedef cm_status (*cm_head_fn)(void *user, const char *path, uint64_t location, unsigned char *out, size_t n,
                                size_t *got);

typedef struct cm_listing {
    cm_context *context;
    const char *container; /* for messages */
    cm_head_fn head;
    void *user;
    cm_entry *entry;
    size_t count, capacity;
    cm_entry json; /* dataset.json nearest to the root; name NULL: none */
    size_t jsons;  /* how many there are at its depth                    */
    struct {
        size_t n;
        char first[200];
    } system, format, other, dangling, again, twice;
    size_t endings[CM_NAME_ENDINGS];
    char foreign[200]; /* what the first file without an ending is, "" for none */
    cm_left_out *left; /* the first of all that are left out, handed over to the source */
    size_t left_names, left_capacity;
    uint64_t left_all;
    cm_status failed; /* to note one of them */
} cm_listing;

void cmi_listing_begin(cm_listing *listing, cm_context *context, const char *container, cm_head_fn head, void *user);
/* A regular file.  `path` is its name in the container. */
cm_status cmi_listing_add(cm_listing *listing, const char *path, uint64_t location, uint64_t size);
/* A member that is another name of the member `target`. */
cm_status cmi_listing_add_hard_link(cm_listing *listing, const char *path, const char *target);
/* What is not followed: a link that leads nowhere, or to what is listed anyway. */
void cmi_listing_skip_link(cm_listing *listing, const char *path, int dangling);
void cmi_listing_skip_system(cm_listing *listing, const char *path);

/* Hands the pictures over to the source: names, paths, locations, sizes, the count and
 * the bytes; in the order of cmi_name_order when sorted, else as they were added.  Logs
 * what was left out; ARGUMENT when no picture is left.  A dataset.json is in
 * listing->json afterwards, its folder in source->json_folder. */
cm_status cmi_listing_finish(cm_listing *listing, cm_source *source, int sorted);
void cmi_listing_end(cm_listing *listing);

#endif
