/* flax_file.h - msgpack as flax writes it, and in the other widths that the format allows. */
#ifndef TESTS_SUPPORT_FLAX_FILE_H
#define TESTS_SUPPORT_FLAX_FILE_H

#include "support/torch_file.h"

/* Which of the several heads of a value is written: 0 the shortest, 3 the longest. */
static inline void put_head(block *b, unsigned first, int n, size_t size, int wide)
{
    int k = size >= 1u << 16 ? 2 : size >= 1u << 8 ? 1 : 0; /* 1, 2 or 4 bytes; n of them exist */
    if (k < 3 - n) k = 3 - n;
    if (wide > k && wide < 3) k = wide;
    put_number(b, first + (unsigned)(k - (3 - n)), 1);
    for (int i = 1 << k; i-- > 0;) put_number(b, size >> (8 * i), 1);
}

static inline void put_map(block *b, size_t pairs, int wide)
{
    if (pairs < 16 && !wide) put_number(b, 0x80 + pairs, 1);
    else put_head(b, 0xde, 2, pairs, wide);
}

static inline void put_list(block *b, size_t values, int wide)
{
    if (values < 16 && !wide) put_number(b, 0x90 + values, 1);
    else put_head(b, 0xdc, 2, values, wide);
}

static inline void put_string(block *b, const char *text, int wide)
{
    size_t n = strlen(text);
    if (n < 32 && !wide) put_number(b, 0xa0 + n, 1);
    else put_head(b, 0xd9, 3, n, wide);
    put(b, text, n);
}

static inline void put_whole(block *b, uint64_t v, int wide)
{
    if (v < 128 && !wide) {
        put_number(b, v, 1);
        return;
    }
    int k = v >> 32 ? 3 : v >> 16 ? 2 : v >> 8 ? 1 : 0;
    if (wide > k) k = wide;
    put_number(b, 0xcc + (unsigned)k, 1);
    for (int i = 1 << k; i-- > 0;) put_number(b, v >> (8 * i), 1);
}

/* An array of flax: extension 1 around [shape, dtype, bytes]. */
static inline void put_ndarray(block *b, const char *dtype, int rank, const int64_t *shape, const void *bytes,
                               size_t size, int wide)
{
    block inner = {NULL, 0, 0};
    put_list(&inner, 3, wide);
    put_list(&inner, (size_t)rank, wide);
    for (int i = 0; i < rank; i++) put_whole(&inner, (uint64_t)shape[i], wide);
    put_string(&inner, dtype, wide);
    put_head(&inner, 0xc4, 3, size, wide);
    put(&inner, bytes, size);
    if (inner.size == 16 && !wide) put_number(b, 0xd8, 1);
    else put_head(b, 0xc7, 3, inner.size, wide);
    put_number(b, 1, 1);
    put(b, inner.bytes, inner.size);
    free(inner.bytes);
}

#endif
