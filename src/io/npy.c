/* npy.c - a Python dict literal of three known keys, read by hand. */
#include "io/npy.h"

#include <stdlib.h>
#include <string.h>

#include "tensor/convert.h"

/* The text behind 'key': in the header; NULL when absent. */
static const char *member(const char *header, const char *key)
{
    const char *at = strstr(header, key);
    if (!at || at == header || (at[-1] != '\'' && at[-1] != '"')) return NULL;
    const char quote = at[-1];
    at += strlen(key);
    if (*at++ != quote) return NULL;
    at += strspn(at, " ");
    if (*at++ != ':') return NULL;
    return at + strspn(at, " ");
}

static int read_descr(const char *at, cm_npy *out)
{
    if (!at || (*at != '\'' && *at != '"')) return 0;
    char order = *++at;
    if (!strchr("<>|=", order)) return 0;
    out->swapped = order == '>';
    out->kind = at[1];
    out->bytes = atoi(at + 2);
    const char *end = at + 2 + strspn(at + 2, "0123456789");
    if ((*end != '\'' && *end != '"') || !strchr("uifb", out->kind)) return 0;
    if (out->kind == 'f') return out->bytes == 2 || out->bytes == 4 || out->bytes == 8;
    return out->bytes == 1 || out->bytes == 2 || out->bytes == 4 || out->bytes == 8;
}

static int read_shape(const char *at, cm_npy *out)
{
    if (!at || *at++ != '(') return 0;
    out->count = 1;
    for (out->rank = 0; *at != ')';) {
        char *end;
        if (out->rank == 8 || *at < '0' || *at > '9') return 0;
        unsigned long long v = strtoull(at, &end, 10);
        if (v > SIZE_MAX / 2 || !cmi_mul_size(out->count, (size_t)v, &out->count)) return 0;
        out->shape[out->rank++] = (size_t)v;
        at = end + strspn(end, " ");
        if (*at == ',') at += 1 + strspn(at + 1, " ");
    }
    return 1;
}

static cm_status parse_header(const char *name, char *header, cm_npy *out)
{
    const char *order = member(header, "fortran_order");
    if (!read_descr(member(header, "descr"), out))
        CM_FAIL(CM_ERR_FORMAT, "%s: its element type is not a plain number (object arrays are refused)", name);
    if (!order || (strncmp(order, "True", 4) != 0 && strncmp(order, "False", 5) != 0))
        CM_FAIL(CM_ERR_FORMAT, "%s: fortran_order is neither True nor False", name);
    out->fortran = order[0] == 'T';
    if (!read_shape(member(header, "shape"), out)) CM_FAIL(CM_ERR_FORMAT, "%s: its shape cannot be read", name);
    return CM_OK;
}

cm_status cmi_npy_check(const char *name, const unsigned char *bytes, size_t n, size_t size, cm_npy *out)
{
    char header[CM_NPY_HEAD - 12];
    size_t begin, length, data;
    memset(out, 0, sizeof *out);
    if (n < 12 || memcmp(bytes, "\x93NUMPY", 6) != 0) CM_FAIL(CM_ERR_FORMAT, "%s: not a NumPy array", name);
    int version = bytes[6];
    if (version < 1 || version > 3) CM_FAIL(CM_ERR_UNSUPPORTED, "%s: NumPy format version %d", name, version);
    begin = version == 1 ? 10 : 12;
    length = (size_t)bytes[8] | (size_t)bytes[9] << 8;
    if (version > 1) length |= (size_t)bytes[10] << 16 | (size_t)bytes[11] << 24;
    if (length > n - begin || length >= sizeof header || length == 0 || bytes[begin + length - 1] != '\n')
        CM_FAIL(CM_ERR_FORMAT, "%s: its header of %zu bytes is damaged", name, length);
    memcpy(header, bytes + begin, length);
    header[length] = '\0';
    CM_TRY(parse_header(name, header, out));
    if (!cmi_mul_size(out->count, (size_t)out->bytes, &data) || data != size - begin - length)
        CM_FAIL(CM_ERR_FORMAT, "%s: %zu values of %d bytes do not fill the %zu bytes there are", name, out->count,
                out->bytes, size - begin - length);
    out->begin = begin + length;
    return CM_OK;
}

cm_status cmi_npy_parse(const char *name, const unsigned char *bytes, size_t size, cm_npy *out)
{
    CM_TRY(cmi_npy_check(name, bytes, size, size, out));
    out->data = bytes + out->begin;
    return CM_OK;
}

double cmi_npy_value(const cm_npy *a, size_t i)
{
    uint64_t bits = 0;
    const unsigned char *p = a->data + i * (size_t)a->bytes;
    for (int k = 0; k < a->bytes; k++) bits = bits << 8 | p[a->swapped ? k : a->bytes - 1 - k];
    if (a->kind == 'f' && a->bytes == 2) {
        const unsigned char half[2] = {(unsigned char)bits, (unsigned char)(bits >> 8)};
        float f;
        cmi_f16_to_f32(1, half, &f);
        return (double)f;
    }
    if (a->kind == 'f' && a->bytes == 4) {
        uint32_t word = (uint32_t)bits;
        float f;
        memcpy(&f, &word, sizeof f);
        return (double)f;
    }
    if (a->kind == 'f') {
        double d;
        memcpy(&d, &bits, sizeof d);
        return d;
    }
    if (a->kind == 'i' && a->bytes < 8 && bits >> (8 * a->bytes - 1))
        return (double)bits - (double)(1ull << (8 * a->bytes));
    return a->kind == 'i' ? (double)(int64_t)bits : (double)bits;
}
