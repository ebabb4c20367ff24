/* sets.h - data sets for tests: pictures that say which they are, and the containers they come in. */
#ifndef TESTS_SUPPORT_SETS_H
#define TESTS_SUPPORT_SETS_H

#include <math.h>
#include <zip.h>
#include <zlib.h>

#include <consistency/dataset.h>

#include "support/files.h"
#include "support/pictures.h"
#include "support/scratch.h"

/* A 16 x 16 picture whose every pixel says which it is. */
static inline void write_png(const char *path, int value)
{
    uint8_t pixels[16 * 16 * 3];
    memset(pixels, value, sizeof pixels);
    OK(write_picture(NULL, path, 3, 16, 16, pixels, 0, 1));
}

/* Six of them in two folders, whose names are classes. */
static inline void make_folder(const char *name)
{
    char path[300];
    snprintf(path, sizeof path, "mkdir -p %s/%s/cat %s/%s/ape", dir, name, dir, name);
    ck_assert_int_eq(system(path), 0);
    for (int i = 0; i < 6; i++) {
        snprintf(path, sizeof path, "%s/%s/%s/p%d.png", dir, name, i < 3 ? "cat" : "ape", i);
        write_png(path, 10 * i);
    }
}

static inline cm_dataset *open_set(const char *path, cm_dataset_options *o)
{
    cm_dataset *d = NULL;
    OK(cm_dataset_open(NULL, path, o, &d));
    return d;
}

static inline cm_dataset_info info_of(const cm_dataset *d)
{
    cm_dataset_info i;
    cm_dataset_info_init(&i, sizeof i);
    OK(cm_dataset_info_get(d, &i));
    return i;
}

static inline cm_dataset_options in_order(void)
{
    cm_dataset_options o;
    cm_dataset_options_init(&o, sizeof o);
    o.shuffle = 2;
    return o;
}

/* The 8-bit value of picture p. */
static inline int value_at(cm_dataset *d, uint64_t position, int32_t *label)
{
    static float image[3 * 64 * 64];
    OK(read_floats(d, position, 1, image, label));
    return (int)lround(((double)image[0] + 1) * 127.5);
}

static inline size_t tar_member(unsigned char *at, const char *name, char type, const void *data, size_t size)
{
    unsigned sum = 0;
    memset(at, 0, 512);
    memcpy(at, name, strlen(name));
    snprintf((char *)at + 100, 8, "%07o", 0644);
    snprintf((char *)at + 124, 12, "%011zo", size);
    memset(at + 148, ' ', 8);
    at[156] = (unsigned char)type;
    memcpy(at + 257,
           "ustar\0"
           "00",
           8);
    for (int i = 0; i < 512; i++) sum += at[i];
    snprintf((char *)at + 148, 8, "%06o", sum);
    if (size) memcpy(at + 512, data, size);
    return 512 + (size + 511) / 512 * 512;
}

static inline void make_zip(const char *path, const char *const *names, const void *const *data, const size_t *sizes,
                            int n, int store)
{
    int error;
    zip_t *z = zip_open(path, ZIP_CREATE | ZIP_TRUNCATE, &error);
    ck_assert_ptr_nonnull(z);
    for (int i = 0; i < n; i++) {
        zip_int64_t k = zip_file_add(z, names[i], zip_source_buffer(z, data[i], sizes[i], 0), 0);
        ck_assert_int_ge(k, 0);
        if (store) (void)zip_set_file_compression(z, (zip_uint64_t)k, ZIP_CM_STORE, 0);
    }
    ck_assert_int_eq(zip_close(z), 0);
}

static inline void put32(unsigned char *at, uint32_t v)
{
    for (int i = 0; i < 4; i++) at[i] = (unsigned char)(v >> (24 - 8 * i));
}

typedef struct {
    const char *name;
    const void *data;
    size_t size;
} part;

#endif
