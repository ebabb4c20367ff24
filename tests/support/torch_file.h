/* torch_file.h - PyTorch's files, written opcode by opcode. */
#ifndef TESTS_SUPPORT_TORCH_FILE_H
#define TESTS_SUPPORT_TORCH_FILE_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct block {
    unsigned char *bytes;
    size_t size, room;
} block;

static inline void put(block *b, const void *bytes, size_t n)
{
    if (b->size + n > b->room) {
        b->room = 2 * (b->size + n) + 64;
        b->bytes = realloc(b->bytes, b->room);
    }
    if (n) memcpy(b->bytes + b->size, bytes, n);
    b->size += n;
}

#define PUT(b, text) put(b, text, sizeof(text) - 1)

static inline void put_number(block *b, uint64_t v, int n)
{
    for (int i = 0; i < n; i++, v >>= 8) put(b, &(unsigned char){(unsigned char)v}, 1);
}

static inline void put_text(block *b, const char *text)
{
    PUT(b, "X");
    put_number(b, strlen(text), 4);
    put(b, text, strlen(text));
}

static inline void put_int(block *b, int32_t v)
{
    PUT(b, "J");
    put_number(b, (uint32_t)v, 4);
}

/* A plain tensor in a storage of its length; `legacy` as torch before 1.6 wrote it. */
static inline void put_plain(block *b, const char *class, const char *key, int rank, const int64_t *shape, int legacy)
{
    int64_t n = 1;
    for (int i = 0; i < rank; i++) n *= shape[i];
    PUT(b, "ctorch._utils\n_rebuild_tensor_v2\n((X\7\0\0\0storagectorch\n");
    put(b, class, strlen(class));
    PUT(b, "\n");
    put_text(b, key);
    put_text(b, "cpu");
    put_int(b, (int32_t)n);
    if (legacy) PUT(b, "N");
    PUT(b, "tQK\0(");
    for (int i = 0; i < rank; i++) put_int(b, (int32_t)shape[i]);
    PUT(b, "t(");
    for (int i = 0; i < rank; i++) {
        n = shape[i] ? n / shape[i] : 0;
        put_int(b, (int32_t)n);
    }
    PUT(b, "t\x89}tR");
}

static inline void put_tensor(block *b, const char *class, const char *key, int n, int legacy)
{
    const int64_t shape[1] = {n};
    put_plain(b, class, key, 1, shape, legacy);
}

/* "name": tensor of two floats in storage `key`. */
static inline void put_entry(block *b, const char *name, const char *key)
{
    put_text(b, name);
    put_tensor(b, "FloatStorage", key, 2, 0);
}

typedef struct member {
    const char *name;
    const void *bytes;
    size_t size;
} member;

/* A zip archive of stored members without checksums, as those that have none computed. */
static inline block zip_of(const member *members, size_t n)
{
    block zip = {NULL, 0, 0}, directory = {NULL, 0, 0};
    for (size_t i = 0; i < n; i++) {
        const member *m = &members[i];
        PUT(&directory, "PK\1\2\24\0\24\0\0\0\0\0\0\0\0\0\0\0\0\0");
        put_number(&directory, m->size, 4);
        put_number(&directory, m->size, 4);
        put_number(&directory, strlen(m->name), 2);
        put_number(&directory, 0, 12);
        put_number(&directory, zip.size, 4);
        put(&directory, m->name, strlen(m->name));
        PUT(&zip, "PK\3\4\24\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0");
        put_number(&zip, strlen(m->name), 2);
        put_number(&zip, 0, 2);
        put(&zip, m->name, strlen(m->name));
        put(&zip, m->bytes, m->size);
    }
    size_t at = zip.size;
    put(&zip, directory.bytes, directory.size);
    PUT(&zip, "PK\5\6\0\0\0\0");
    put_number(&zip, n, 2);
    put_number(&zip, n, 2);
    put_number(&zip, directory.size, 4);
    put_number(&zip, at, 4);
    put_number(&zip, 0, 2);
    free(directory.bytes);
    return zip;
}

#endif
