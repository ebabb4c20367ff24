/* PyTorch's containers: what a zip file and a legacy stream are made of and what is said where a part is missing, is
 * another's or is too long; modules that were saved whole; and what stands in a file that is read as data. */
#include "support/suite.h"

#include <stdio.h>
#include <stdlib.h>

#include "io/torch.h"
#include "support/tensors.h"
#include "support/torch_file.h"

static cm_context *context;

static void setup(void)
{
    OK(cm_context_create(NULL, &context));
}

static void teardown(void)
{
    cm_context_free(context);
}

static const float numbers[8] = {1, 2, 3, 4, 5, 6, 7, 8};

/* The names and first values of all tensors, then the metadata. */
static void summarize(const cm_tensors *t, char *out, size_t room)
{
    size_t n = 0;
    out[0] = '\0';
    for (size_t i = 0; i < t->count; i++) {
        float v[8];
        OK(cmi_tensor_read(&t->tensors[i], v));
        n += (size_t)snprintf(out + n, room - n, "%s%s=%g", n ? " " : "", t->tensors[i].name, (double)v[0]);
    }
    for (size_t i = 0; i < t->metadata_count; i++)
        n += (size_t)snprintf(out + n, room - n, " [%s=%s]", t->metadata[i].key, t->metadata[i].value);
    ck_assert_uint_lt(n, room);
}

static void expect(const block *file, int as_data, const char *summary)
{
    cm_input in;
    cm_tensors t;
    char text[8192];
    OK(cmi_input_memory(context, "x", file->bytes, file->size, CM_INPUT_IN_PLACE, &in));
    in.as_data = as_data;
    OK(cmi_tensors_open(&in, &t));
    summarize(&t, text, sizeof text);
    ck_assert_str_eq(text, summary);
    cmi_tensors_close(&t);
}

static void refuse(const block *file, int as_data, cm_status status, const char *words)
{
    cm_input in;
    cm_tensors t;
    OK(cmi_input_memory(context, "x", file->bytes, file->size, CM_INPUT_IN_PLACE, &in));
    in.as_data = as_data;
    FAILS(cmi_tensors_open(&in, &t), status, words);
    ck_assert_ptr_null(t.context);
}

/* --- zip files ------------------------------------------------------------------------------------------- */

/* {"w": two floats of storage 0} */
static block small_pickle(void)
{
    block p = {NULL, 0, 0};
    PUT(&p, "\200\2}(");
    put_entry(&p, "w", "0");
    PUT(&p, "u.");
    return p;
}

#define WEIGHTS " [weights=the whole file]"

START_TEST(members_of_a_zip)
{
    block p = small_pickle();
    const struct {
        member members[4];
        cm_status status;
        const char *words;
    } rows[] = {
        {{{"a/data.pkl", p.bytes, p.size}, {"a/data/0", numbers, 8}}, CM_OK, "w=1" WEIGHTS},
        {{{"a/data/0", numbers, 8}, {"a/data.pkl", p.bytes, p.size}, {"a/version", "3\n", 2}}, CM_OK, "w=1" WEIGHTS},
        {{{"a/data.pkl", p.bytes, p.size}, {"a/data/0", numbers, 8}, {"b/x", "", 0}},
         CM_ERR_FORMAT,
         "x: zip members 'a/data.pkl' and 'b/x' are in two folders; PyTorch's files have one root"},
        {{{"a/data.pkl", p.bytes, p.size}, {"a/data/0", numbers, 8}, {"ab", "", 0}},
         CM_ERR_FORMAT,
         "zip members 'a/data.pkl' and 'ab' are in two folders"},
        {{{"data.pkl", p.bytes, p.size}, {"data/0", numbers, 8}},
         CM_ERR_FORMAT,
         "x: a zip archive without a member data.pkl in one root folder: not PyTorch's"},
        {{{"data.pkl", p.bytes, p.size}, {"x/0", numbers, 8}}, CM_ERR_FORMAT, "without a member data.pkl"},
        {{{"a/b/data.pkl", p.bytes, p.size}, {"a/b/data/0", numbers, 8}}, CM_ERR_FORMAT, "without a member data.pkl"},
        {{{"a/data.pk", p.bytes, p.size}, {"a/data/0", numbers, 8}}, CM_ERR_FORMAT, "without a member data.pkl"},
        {{{"a/data.pkl", p.bytes, p.size}, {"a/data/0", numbers, 8}, {"a/constants.pkl", "", 0}},
         CM_ERR_UNSUPPORTED,
         "x: a TorchScript archive, which is a program: save its state_dict instead"},
        {{{"a/data.pkl", p.bytes, p.size}, {"a/data/1", numbers, 8}},
         CM_ERR_FORMAT,
         "x: storage '0': there is no zip member 'a/data/0'"},
        {{{"a/data.pkl", p.bytes, p.size}, {"a/data/0", numbers, 12}},
         CM_ERR_FORMAT,
         "x: storage '0': 2 elements of type F32 need 8 bytes, zip member 'a/data/0' has 12"},
        {{{"a/data.pkl", p.bytes, p.size}, {"a/data/0", numbers, 4}}, CM_ERR_FORMAT, "need 8 bytes, zip member"},
        {{{"a/data.pkl", p.bytes, p.size}, {"a/data/0", numbers, 8}, {"a/byteorder", "little", 6}},
         CM_OK,
         "w=1" WEIGHTS},
        {{{"a/data.pkl", p.bytes, p.size}, {"a/data/0", "\100\0\0\0\77\200\0\0", 8}, {"a/byteorder", "big", 3}},
         CM_OK,
         "w=2" WEIGHTS},
        {{{"a/data.pkl", p.bytes, p.size}, {"a/data/0", numbers, 8}, {"a/byteorder", "bigg", 4}},
         CM_ERR_FORMAT,
         "x: zip member 'a/byteorder' is 'bigg'; 'little' and 'big' are known"},
        {{{"a/data.pkl", p.bytes, p.size}, {"a/data/0", numbers, 8}, {"a/byteorder", "", 0}},
         CM_ERR_FORMAT,
         "zip member 'a/byteorder' is ''"},
        {{{"a/data.pkl", p.bytes, p.size}, {"a/data/0", numbers, 8}, {"a/byteorder", "little\n", 7}},
         CM_ERR_FORMAT,
         "zip member 'a/byteorder' is ''"},
        {{{"a/data.pkl", p.bytes, p.size}, {"a/data/0", numbers, 8}, {"a/byteorder", "littl", 5}},
         CM_ERR_FORMAT,
         "zip member 'a/byteorder' is 'littl'"},
        {{{"a/data.pkl", p.bytes, p.size}, {"a/data/0", numbers, 8}, {"a/extra/consistency.json", "{}", 2}},
         CM_OK,
         "w=1" WEIGHTS},
        {{{"a/data.pkl", p.bytes, p.size},
          {"a/data/0", numbers, 8},
          {"a/extra/consistency.json", "{\"consistency.a\":\"1\",\"other\":\"2\",\"consistency\":\"3\"}", 51}},
         CM_OK,
         "w=1 [consistency.a=1]" WEIGHTS},
        {{{"a/data.pkl", p.bytes, p.size}, {"a/data/0", numbers, 8}, {"a/extra/consistency.json", "[]", 2}},
         CM_ERR_FORMAT,
         "x: zip member 'a/extra/consistency.json' is no JSON object"},
        {{{"a/data.pkl", p.bytes, p.size}, {"a/data/0", numbers, 8}, {"a/extra/consistency.json", "{\"k\":1}", 7}},
         CM_ERR_FORMAT,
         "x: zip member 'a/extra/consistency.json': entry 'k' is not a string"},
        {{{"a/data.pkl", p.bytes, p.size}, {"a/data/0", numbers, 8}, {"a/extra/consistency.json", "{", 1}},
         CM_ERR_FORMAT,
         "a/extra/consistency.json: not valid JSON"},
        {{{"a/data.pkl", p.bytes, p.size - 1}, {"a/data/0", numbers, 8}}, CM_ERR_FORMAT, "x: data.pkl, byte "},
        {{{"a/data.pkl", p.bytes, 0}, {"a/data/0", numbers, 8}},
         CM_ERR_FORMAT,
         "x: data.pkl, byte 0: truncated: it ends without STOP"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        size_t n = 0;
        while (n < 4 && rows[i].members[n].name) n++;
        block zip = zip_of(rows[i].members, n);
        if (rows[i].status == CM_OK) expect(&zip, 0, rows[i].words);
        else refuse(&zip, 0, rows[i].status, rows[i].words);
        free(zip.bytes);
    }
    PUT(&p, "xyz");
    const member more[] = {{"a/data.pkl", p.bytes, p.size}, {"a/data/0", numbers, 8}};
    block zip = zip_of(more, 2);
    refuse(&zip, 0, CM_ERR_FORMAT, "x: data.pkl has 3 bytes behind its STOP");
    free(zip.bytes);
    free(p.bytes);
}
END_TEST

/* The longest metadata, and one byte more. */
START_TEST(long_metadata)
{
    enum { MOST = 4 << 20 };
    block p = small_pickle();
    char *text = malloc(MOST + 1);
    for (size_t n = MOST; n <= MOST + 1; n++) {
        memset(text, ' ', n);
        text[0] = '{', text[1] = '}';
        const member members[] = {
            {"a/data.pkl", p.bytes, p.size}, {"a/data/0", numbers, 8}, {"a/extra/consistency.json", text, n}};
        block zip = zip_of(members, 3);
        if (n == MOST) expect(&zip, 0, "w=1" WEIGHTS);
        else
            refuse(&zip, 0, CM_ERR_LIMIT,
                   "x: zip member 'a/extra/consistency.json' of 4194305 bytes is over the limit of 4194304");
        free(zip.bytes);
    }
    free(text);
    free(p.bytes);
}
END_TEST

/* Checksums that are there are compared and counted; a member without bytes has the right one. */
START_TEST(checksums_are_counted)
{
    block p = small_pickle();
    cm_tensors t;
    const member members[] = {
        {"a/data.pkl", p.bytes, p.size}, {"a/data/0", "\0\0\200\77\0\0\0\100", 8}, {"a/version", "", 0}};
    block zip = zip_of(members, 3);
    OK(open_bytes(context, "x", zip.bytes, zip.size, &t));
    ck_assert(t.checksums == 1 && t.without_checksum == 2);
    cmi_tensors_close(&t);
    unsigned char *entry = zip.bytes, *last = NULL;
    for (int found = 0; found < 2; entry++)
        if (memcmp(entry, "PK\1\2", 4) == 0) found++, last = entry;
    memcpy(last + 16, "\166\245\77\56", 4); /* what zlib says of these eight bytes, from Python */
    OK(open_bytes(context, "x", zip.bytes, zip.size, &t));
    ck_assert(t.checksums == 2 && t.without_checksum == 1);
    cmi_tensors_close(&t);
    last[16]++;
    refuse(&zip, 0, CM_ERR_FORMAT, "x: zip member 'a/data/0': its checksum is");
    free(zip.bytes);
    free(p.bytes);
}
END_TEST

/* --- legacy streams ------------------------------------------------------------------------------------------ */

#define MAGIC "\200\2\212\12\154\374\234\106\371\040\152\250\120\031."
#define VERSION "\200\2M\351\3."
#define LITTLE "\200\2}U\15little_endian\210s."
#define BIG "\200\2}U\15little_endian\211s."
#define OBJECT                                                                                                       \
    "\200\2}U\1wctorch._utils\n_rebuild_tensor_v2\n(("                                                               \
    "U\7storagectorch\nShortStorage\nU\0010U\3cpuK\2NtQK\0K\2\205K\1"                                                \
    "\205\211}tRs."
#define KEYS "\200\2]U\0010a."
#define COUNT "\2\0\0\0\0\0\0\0"

START_TEST(legacy_streams)
{
#define STREAM(text, status, words)                                                                                  \
    {                                                                                                                \
        text, sizeof(text) - 1, status, words                                                                        \
    }
    static const struct {
        const char *bytes;
        size_t size;
        cm_status status;
        const char *words;
    } rows[] = {
        STREAM(MAGIC VERSION LITTLE OBJECT KEYS COUNT "\5\0\7\0", CM_OK, "w=5" WEIGHTS),
        STREAM(MAGIC VERSION BIG OBJECT KEYS COUNT "\1\2\0\7", CM_OK, "w=258" WEIGHTS),
        STREAM(MAGIC "\200\2M\350\3." LITTLE OBJECT KEYS COUNT "\5\0\7\0", CM_ERR_FORMAT,
               "x: its protocol is not the number 1001"),
        STREAM(MAGIC "\200\2N." LITTLE OBJECT KEYS COUNT "\5\0\7\0", CM_ERR_FORMAT, "not the number 1001"),
        STREAM(MAGIC VERSION "\200\2}." OBJECT KEYS COUNT "\5\0\7\0", CM_ERR_FORMAT,
               "x: it does not say whether its numbers are little-endian"),
        STREAM(MAGIC VERSION "\200\2}U\15little_endianK\1s." OBJECT KEYS COUNT "\5\0\7\0", CM_ERR_FORMAT,
               "it does not say whether its numbers are little-endian"),
        STREAM(MAGIC VERSION LITTLE OBJECT "\200\2N." COUNT "\5\0\7\0", CM_ERR_FORMAT,
               "x: None stands in place of the list of storages"),
        STREAM(MAGIC VERSION LITTLE OBJECT "\200\2U\0010\205." COUNT "\5\0\7\0", CM_ERR_FORMAT,
               "a tuple stands in place of the list of storages"),
        STREAM(MAGIC VERSION LITTLE OBJECT "\200\2].", CM_ERR_FORMAT,
               "x: storage '0' is not in the list of storages"),
        STREAM(MAGIC VERSION LITTLE OBJECT "\200\2]U\0011a." COUNT "\5\0\7\0", CM_ERR_FORMAT,
               "x: the list of storages names '1', which no tensor does"),
        STREAM(MAGIC VERSION LITTLE OBJECT "\200\2]Na." COUNT "\5\0\7\0", CM_ERR_FORMAT,
               "the list of storages names 'None', which no tensor does"),
        STREAM(MAGIC VERSION LITTLE OBJECT "\200\2](U\0010U\0010e." COUNT "\5\0\7\0" COUNT "\5\0\7\0", CM_ERR_FORMAT,
               "x: storage '0' is listed twice"),
        STREAM(MAGIC VERSION LITTLE OBJECT KEYS "\2\0\0\0\0\0\0", CM_ERR_FORMAT,
               "x: truncated: storage '0' is missing"),
        STREAM(MAGIC VERSION LITTLE OBJECT KEYS, CM_ERR_FORMAT, "x: truncated: storage '0' is missing"),
        STREAM(MAGIC VERSION LITTLE OBJECT KEYS COUNT, CM_ERR_FORMAT,
               "x: truncated: storage '0' needs 4 bytes, 0 are left"),
        STREAM(MAGIC VERSION LITTLE OBJECT KEYS COUNT "\5\0\7", CM_ERR_FORMAT, "needs 4 bytes, 3 are left"),
        STREAM(MAGIC VERSION LITTLE OBJECT KEYS "\3\0\0\0\0\0\0\0\5\0\7\0", CM_ERR_FORMAT,
               "x: storage '0' has 3 elements, its tensors say 2"),
        STREAM(MAGIC VERSION LITTLE OBJECT KEYS "\2\0\0\0\0\0\0\1\5\0\7\0", CM_ERR_FORMAT,
               "has 72057594037927938 elements, its tensors say 2"),
        STREAM(MAGIC VERSION LITTLE OBJECT KEYS COUNT "\5\0\7\0!", CM_ERR_FORMAT,
               "x: 1 bytes behind the last storage"),
        STREAM(MAGIC, CM_ERR_FORMAT, "x: the pickle of its version, byte 0: truncated"),
        STREAM(MAGIC VERSION, CM_ERR_FORMAT, "x: the pickle of its machine, byte 0: truncated"),
        STREAM(MAGIC VERSION LITTLE, CM_ERR_FORMAT, "x: the pickle of its object, byte 0: truncated"),
        STREAM(MAGIC VERSION LITTLE OBJECT, CM_ERR_FORMAT, "x: the pickle of its storages' keys, byte 0: truncated"),
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const block file = {(unsigned char *)(uintptr_t)rows[i].bytes, rows[i].size, 0};
        if (rows[i].status == CM_OK) expect(&file, 0, rows[i].words);
        else refuse(&file, 0, rows[i].status, rows[i].words);
    }
}
END_TEST

/* Of two storages both have to be listed, in either order. */
START_TEST(second_storage)
{
    for (int listed = 0; listed < 4; listed++) {
        static const char *const words[] = {"storage '0' is not in", "storage '1' is not in",
                                            "storage '0' is not in"};
        block b = {NULL, 0, 0};
        PUT(&b, MAGIC VERSION LITTLE "\200\2}(");
        for (int i = 0; i < 2; i++) {
            put_text(&b, i ? "v" : "w");
            put_tensor(&b, "FloatStorage", i ? "1" : "0", 1, 1);
        }
        PUT(&b, "u.\200\2](");
        if (listed & 2) PUT(&b, "U\0011");
        if (listed & 1) PUT(&b, "U\0010");
        PUT(&b, "e.");
        if (listed & 2) PUT(&b, "\1\0\0\0\0\0\0\0\0\0\0\100");
        if (listed & 1) PUT(&b, "\1\0\0\0\0\0\0\0\0\0\200\77");
        if (listed == 3) expect(&b, 0, "w=1 v=2" WEIGHTS);
        else refuse(&b, 0, CM_ERR_FORMAT, words[listed]);
        free(b.bytes);
    }
}
END_TEST

/* The beginning of a legacy stream, of each protocol, with FRAME and without. */
START_TEST(beginnings)
{
    static const char plain[] = "\200\2\212\12\154\374\234\106\371\040\152\250\120\031",
                      framed[] = "\200\4\225\20\0\0\0\0\0\0\0\212\12\154\374\234\106\371\040\152\250\120\031";
    const size_t sizes[2] = {sizeof plain - 1, sizeof framed - 1};
    for (int kind = 0; kind < 2; kind++) {
        unsigned char b[32];
        memset(b, 0, sizeof b);
        memcpy(b, kind ? framed : plain, sizes[kind]);
        for (size_t n = 0; n <= sizes[kind]; n++) ck_assert_int_eq(cmi_torch_is_stream(b, n), n == sizes[kind]);
        ck_assert(cmi_torch_is_stream(b, sizes[kind] + 1));
        for (int protocol = 0; protocol < 8; protocol++) {
            b[1] = (unsigned char)protocol;
            ck_assert_int_eq(cmi_torch_is_stream(b, sizes[kind]), protocol >= 2 && protocol <= 5);
            /* What begins with a protocol and is no stream is a pickle. */
            for (int magic = 0; magic < 2; magic++) {
                b[sizes[kind] - 1] ^= (unsigned char)magic;
                ck_assert_int_eq(cmi_format_torch_legacy.recognise(NULL, b, sizes[kind]),
                                 protocol >= 2 && protocol <= 5 && !magic);
                ck_assert_int_eq(cmi_format_edm_pickle.recognise(NULL, b, sizes[kind]),
                                 protocol >= 2 && protocol <= 5 && magic);
                b[sizes[kind] - 1] ^= (unsigned char)magic;
            }
        }
        b[1] = 2;
        b[0]++;
        ck_assert(!cmi_torch_is_stream(b, sizes[kind]));
        ck_assert(!cmi_format_edm_pickle.recognise(NULL, b, sizes[kind]));
    }
    ck_assert(cmi_format_edm_pickle.recognise(NULL, (const unsigned char *)"\200\2", 2));
    ck_assert(!cmi_format_edm_pickle.recognise(NULL, (const unsigned char *)"\200\2", 1));
    ck_assert(cmi_format_torch_zip.recognise(NULL, (const unsigned char *)"PK\3\4", 4));
    ck_assert(!cmi_format_torch_zip.recognise(NULL, (const unsigned char *)"PK\3\4", 3));
    ck_assert(!cmi_format_torch_zip.recognise(NULL, (const unsigned char *)"PK\3\5", 4));
}
END_TEST

/* --- streams inside of a pickle -----------------------------------------------------------------------------------
 */

#define NESTED_ID(rest) "\200\2(U\7storagectorch\nShortStorage\nU\0017U\3cpuK\2" rest "tQ."
#define NESTED_KEYS "\200\2]U\0017a."

/* {name: a tensor of a stream, ...}: a plain pickle. */
static block nested_file(const char *const *streams, const size_t *sizes, size_t n)
{
    block b = {NULL, 0, 0};
    PUT(&b, "\200\4}(");
    for (size_t i = 0; i < n; i++) {
        put_text(&b, i ? "v" : "w");
        PUT(&b, "ctorch._utils\n_rebuild_tensor_v2\n(ctorch.storage\n_load_from_bytes\nB");
        put_number(&b, sizes[i], 4);
        put(&b, streams[i], sizes[i]);
        PUT(&b, "\205RK\0K\2\205K\1\205\211}tR");
    }
    PUT(&b, "u.");
    return b;
}

START_TEST(nested_streams)
{
    static const struct {
        const char *bytes;
        size_t size;
        cm_status status;
        const char *words;
    } rows[] = {
        STREAM(MAGIC VERSION LITTLE NESTED_ID("") NESTED_KEYS COUNT "\5\0\7\0", CM_OK, "w=5" WEIGHTS),
        STREAM(MAGIC VERSION LITTLE NESTED_ID("N") NESTED_KEYS COUNT "\5\0\7\0", CM_OK, "w=5" WEIGHTS),
        STREAM(MAGIC VERSION BIG NESTED_ID("N") NESTED_KEYS COUNT "\1\2\0\7", CM_OK, "w=258" WEIGHTS),
        STREAM(MAGIC VERSION LITTLE NESTED_ID("U\1xK\0K\1\207") NESTED_KEYS COUNT "\5\0\7\0", CM_ERR_UNSUPPORTED,
               "holds a part of a storage"),
        STREAM(MAGIC VERSION LITTLE "\200\2N." NESTED_KEYS COUNT "\5\0\7\0", CM_ERR_FORMAT,
               "holds None, not a storage"),
        STREAM(MAGIC VERSION LITTLE "\200\2ctorch.storage\n_load_from_bytes\nC\1x\205R." NESTED_KEYS COUNT "\5\0\7\0",
               CM_ERR_FORMAT, "holds a storage, not a storage"),
        STREAM(MAGIC VERSION LITTLE NESTED_ID("N") "\200\2]U\0018a." COUNT "\5\0\7\0", CM_ERR_FORMAT,
               "does not list its one storage '7'"),
        STREAM(MAGIC VERSION LITTLE NESTED_ID("N") "\200\2](U\0017U\0017e." COUNT "\5\0\7\0", CM_ERR_FORMAT,
               "does not list its one storage '7'"),
        STREAM(MAGIC VERSION LITTLE NESTED_ID("N") "\200\2]." COUNT "\5\0\7\0", CM_ERR_FORMAT,
               "does not list its one"),
        STREAM(MAGIC VERSION LITTLE NESTED_ID("N") "\200\2]Na." COUNT "\5\0\7\0", CM_ERR_FORMAT, "does not list its"),
        STREAM(MAGIC VERSION LITTLE NESTED_ID("N") "\200\2U\0017\205." COUNT "\5\0\7\0", CM_ERR_FORMAT,
               "does not list"),
        STREAM(MAGIC VERSION LITTLE NESTED_ID("N") NESTED_KEYS "\2\0\0\0\0\0\0", CM_ERR_FORMAT,
               "ends before its storage"),
        STREAM(MAGIC VERSION LITTLE NESTED_ID("N") NESTED_KEYS COUNT "\5\0\7", CM_ERR_FORMAT,
               "has 3 bytes for a storage of 2 and of 2 elements of I16"),
        STREAM(MAGIC VERSION LITTLE NESTED_ID("N") NESTED_KEYS COUNT "\5\0\7\0!", CM_ERR_FORMAT,
               "has 5 bytes for a storage of 2 and of 2 elements of I16"),
        STREAM(MAGIC VERSION LITTLE NESTED_ID("N") NESTED_KEYS "\3\0\0\0\0\0\0\0\5\0\7\0", CM_ERR_FORMAT,
               "has 4 bytes for a storage of 3 and of 2 elements of I16"),
        STREAM("\200\2N." VERSION LITTLE NESTED_ID("N") NESTED_KEYS COUNT "\5\0\7\0", CM_ERR_UNSUPPORTED,
               "x: a Python pickle of None, not a checkpoint that PyTorch has written"),
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        block file = nested_file(&rows[i].bytes, &rows[i].size, 1);
        if (rows[i].status == CM_OK) expect(&file, 0, rows[i].words);
        else refuse(&file, 0, rows[i].status, rows[i].words);
        free(file.bytes);
    }
    for (int second = 0; second < 3; second++) {
        static const int others[3] = {1, 2, 2}, firsts[3] = {0, 2, 0};
        const char *bytes[2] = {rows[firsts[second]].bytes, rows[others[second]].bytes};
        const size_t sizes[2] = {rows[firsts[second]].size, rows[others[second]].size};
        block file = nested_file(bytes, sizes, 2);
        if (second == 2) {
            int one = 0, two = 0;
            refuse(&file, 0, CM_ERR_FORMAT, "x: the storages at bytes ");
            ck_assert_ptr_nonnull(strstr(cm_last_message(), " are of different byte orders"));
            ck_assert(sscanf(cm_last_message(), "x: the storages at bytes %d and %d", &one, &two) == 2 && one != two);
        } else expect(&file, 0, second ? "w=258 v=258" WEIGHTS : "w=5 v=5" WEIGHTS);
        PUT(&file, "!!");
        refuse(&file, 0, CM_ERR_FORMAT, "x: 2 bytes behind the pickle");
        free(file.bytes);
    }
    /* Storages beside the pickle have no place there, and those of streams none in a zip file. */
    block p = small_pickle();
    refuse(&p, 0, CM_ERR_FORMAT, "x: a storage beside the pickle (BINPERSID), but there is nothing beside it");
    free(p.bytes);
    block inner = nested_file(&rows[0].bytes, &rows[0].size, 1);
    const member members[] = {{"a/data.pkl", inner.bytes, inner.size}};
    block zip = zip_of(members, 1);
    refuse(&zip, 0, CM_ERR_FORMAT,
           "x: a storage in a stream of its own (_load_from_bytes), where storages stand beside the pickle");
    free(inner.bytes);
    free(zip.bytes);
}
END_TEST

/* --- modules -------------------------------------------------------------------------------------------------------
 */

#define MODULE "ctorch.nn.modules.container\nSequential\n)\201}("
#define END_MODULE "ub"

/* A zip of a pickle of tensors of the storages 0 to 3, each of which begins with its number. */
static block zip_for(block *p)
{
    static const float values[4][2] = {{0, 0}, {1, 0}, {2, 0}, {3, 0}};
    const member members[] = {{"a/data.pkl", p->bytes, p->size},
                              {"a/data/0", values[0], 8},
                              {"a/data/1", values[1], 8},
                              {"a/data/2", values[2], 8},
                              {"a/data/3", values[3], 8}};
    block zip = zip_of(members, 5);
    free(p->bytes);
    return zip;
}

/* Parameters, buffers that are kept, then the modules inside; what is None or no tensor has no values. */
static block module_file(const char *before, size_t n, const char *after, size_t m)
{
    block p = {NULL, 0, 0};
    PUT(&p, "\200\2");
    put(&p, before, n);
    PUT(&p, MODULE "U\10_modules}(U\5inner" MODULE "U\13_parameters}(");
    put_entry(&p, "weight", "3");
    PUT(&p, "U\4biasNuub"
            "U\3oneK\1u"
            "U\10_buffers}(");
    put_entry(&p, "left", "2");
    PUT(&p, "U\4noneN");
    put_entry(&p, "kept", "1");
    PUT(&p, "u"
            "U\33_non_persistent_buffers_set\217(U\4leftK\1\220"
            "U\13_parameters}(");
    put_entry(&p, "first", "0");
    PUT(&p, "u" END_MODULE);
    put(&p, after, m);
    PUT(&p, ".");
    return zip_for(&p);
}

/* The tensors alone, of the set that is asked for. */
static void expect_tensors(block *zip, const char *weights, const char *names)
{
    cm_input in;
    cm_tensors t;
    char text[1000];
    OK(cmi_input_memory(context, "x", zip->bytes, zip->size, CM_INPUT_IN_PLACE, &in));
    in.weights = weights;
    OK(cmi_tensors_open(&in, &t));
    t.metadata_count = 0;
    summarize(&t, text, sizeof text);
    ck_assert_str_eq(text, names);
    cmi_tensors_close(&t);
    free(zip->bytes);
}

#define WRAP(before, after) before, sizeof(before) - 1, after, sizeof(after) - 1

START_TEST(modules)
{
    block file = module_file(WRAP("", ""));
    expect_tensors(&file, NULL, "first=0 kept=1 inner.weight=3");
    file = module_file(WRAP("}U\3ema", "s"));
    expect_tensors(&file, NULL, "first=0 kept=1 inner.weight=3");
    file = module_file(WRAP("}(U\1xK\1U\3ema", "U\1yNu"));
    expect_tensors(&file, NULL, "first=0 kept=1 inner.weight=3");
    for (int which = 0; which < 2; which++) { /* two modules of which one is chosen */
        block p = {NULL, 0, 0};
        PUT(&p, "\200\2}(U\3net" MODULE "U\13_parameters}(");
        put_entry(&p, "a", "1");
        PUT(&p, "u" END_MODULE "U\3ema" MODULE "U\13_parameters}(");
        put_entry(&p, "a", "2");
        PUT(&p, "u" END_MODULE "u.");
        file = zip_for(&p);
        expect_tensors(&file, which ? "net" : NULL, which ? "a=1" : "a=2");
    }
}
END_TEST

/* A module keeps its names whole; of a dictionary what all names begin with is taken off, and said. */
START_TEST(beginnings_of_names)
{
    block p = {NULL, 0, 0};
    PUT(&p, "\200\2" MODULE "U\10_modules}U\5model" MODULE "U\13_parameters}(");
    put_entry(&p, "a", "1");
    put_entry(&p, "b", "2");
    PUT(&p, "u" END_MODULE "s" END_MODULE ".");
    block file = zip_for(&p);
    expect_tensors(&file, NULL, "model.a=1 model.b=2");
    p = (block){NULL, 0, 0};
    PUT(&p, "\200\2}U\3ema}(");
    put_entry(&p, "module.a", "1");
    put_entry(&p, "module.b", "2");
    PUT(&p, "us.");
    file = zip_for(&p);
    expect(&file, 0, "a=1 b=2 [read.prefix=module.] [weights=ema]");
    free(file.bytes);
}
END_TEST

START_TEST(names_in_modules)
{
    static const struct {
        const char *bytes;
        size_t size;
        const char *words;
    } rows[] = {
#define NAMED(text, words)                                                                                           \
    {"\200\2" MODULE text END_MODULE ".", sizeof("\200\2" MODULE text END_MODULE ".") - 1, words}
#define W "ctorch._utils\n_rebuild_tensor_v2\n((U\7storagectorch\nFloatStorage\nU\0010U\3cpuK\2tQK\0K\2\205K\1\205tR"
        NAMED("U\13_parameters}K\1" W "s", "x: a part of module '' is named by a number"),
        NAMED("U\10_modules}K\1" MODULE "U\1aN" END_MODULE "s", "x: a part of module '' is named by a number"),
        NAMED("U\10_modules}U\1a" MODULE "U\10_buffers}N" W "s" END_MODULE "s",
              "x: a part of module 'a.' is named by None"),
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        block p = {NULL, 0, 0};
        put(&p, rows[i].bytes, rows[i].size);
        block zip = zip_for(&p);
        refuse(&zip, 0, CM_ERR_FORMAT, rows[i].words);
        free(zip.bytes);
    }
    for (size_t n = 4095 - 2; n <= 4096 - 1; n++) { /* "a." and a name */
        static char name[4100];
        memset(name, 'n', sizeof name);
        name[n] = '\0';
        block p = {NULL, 0, 0};
        PUT(&p, "\200\2" MODULE "U\10_modules}U\1a" MODULE "U\13_parameters}");
        put_text(&p, name);
        PUT(&p, W "s" END_MODULE "s" END_MODULE ".");
        block zip = zip_for(&p);
        if (n + 2 > 4096) {
            refuse(&zip, 0, CM_ERR_LIMIT, "x: the name of a tensor in module 'a.' is over the limit of 4096 bytes");
            free(zip.bytes);
            continue;
        }
        cm_tensors t;
        OK(open_bytes(context, "x", zip.bytes, zip.size, &t));
        ck_assert_uint_eq(t.count, 1);
        ck_assert_uint_eq(strlen(t.tensors[0].name), n + 2);
        cmi_tensors_close(&t);
        free(zip.bytes);
    }
}
END_TEST

/* As deep as modules may be in each other: the outer ones are given their parts first, so that no value is deep when
 * it is put into another. */
START_TEST(modules_in_each_other)
{
    for (int n = CM_PICKLE_DEPTH + 1; n <= CM_PICKLE_DEPTH + 2; n++) {
        block p = {NULL, 0, 0};
        PUT(&p, "\200\2}(U\1x(");
        for (int i = 0; i < n; i++) {
            PUT(&p, "ctorch.nn.modules.container\nSequential\n)\201q");
            put_number(&p, (uint64_t)i, 1);
        }
        for (int i = 0; i < n; i++) {
            PUT(&p, "h");
            put_number(&p, (uint64_t)i, 1);
            if (i + 1 < n) {
                PUT(&p, "}U\10_modules}U\1ah");
                put_number(&p, (uint64_t)i + 1, 1);
                PUT(&p, "ssb");
            } else {
                PUT(&p, "}U\13_parameters}(");
                put_entry(&p, "w", "3");
                PUT(&p, "usb");
            }
        }
        PUT(&p, "tU\3emah\0u.");
        block zip = zip_for(&p);
        cm_tensors t;
        if (n > CM_PICKLE_DEPTH + 1) {
            refuse(&zip, 0, CM_ERR_LIMIT, "x: modules nest deeper than 64 or are more than 65536");
        } else {
            OK(open_bytes(context, "x", zip.bytes, zip.size, &t));
            ck_assert(t.count == 1 && strlen(t.tensors[0].name) == 2 * CM_PICKLE_DEPTH + 1);
            cmi_tensors_close(&t);
        }
        free(zip.bytes);
    }
}
END_TEST

/* Three parts of a module, one parameter, and 2359 buffers each of which is looked for among 3555 names: with keys
 * and values 6 + 2 + 4718 x 3556 = 2^24 entries. */
START_TEST(entries_of_modules)
{
    for (int more = 0; more < 2; more++) {
        block p = {NULL, 0, 0};
        char name[8];
        PUT(&p, "\200\4" MODULE "U\13_parameters}(");
        put_entry(&p, "w", "3");
        PUT(&p, "uU\10_buffers}(");
        for (int i = 0; i < 2359; i++) {
            snprintf(name, sizeof name, "b%x", (unsigned)i);
            put_text(&p, name), PUT(&p, "N");
        }
        PUT(&p, "uU\33_non_persistent_buffers_set\217(");
        for (int i = 0; i < 3555 + more; i++) {
            snprintf(name, sizeof name, "n%x", (unsigned)i);
            put_text(&p, name);
        }
        PUT(&p, "\220" END_MODULE ".");
        block zip = zip_for(&p);
        if (more) {
            refuse(&zip, 0, CM_ERR_LIMIT, "x: its modules have more than the limit of 16777216 entries");
            free(zip.bytes);
        } else expect_tensors(&zip, NULL, "w=3");
    }
}
END_TEST

/* --- files that are held -------------------------------------------------------------------------------------------
 */

/* A copy has the whole file, whose tensors lie in it as they lie there: what is aligned is used where it is. */
START_TEST(copies_are_whole)
{
    static const char stream[] = MAGIC VERSION LITTLE NESTED_ID("N") NESTED_KEYS COUNT "\5\0\7\0",
                      legacy[] = MAGIC VERSION LITTLE OBJECT KEYS COUNT "\5\0\7\0";
    const char *const streams[] = {stream};
    const size_t sizes[] = {sizeof stream - 1};
    block p = small_pickle(), files[3] = {{NULL, 0, 0}};
    files[0] = zip_for(&p);
    put(&files[1], legacy, sizeof legacy - 1);
    files[2] = nested_file(streams, sizes, 1);
    for (int i = 0; i < 3; i++) {
        uint64_t first = UINT64_MAX;
        cm_input in;
        cm_tensors t, there;
        OK(cmi_input_memory(context, "x", files[i].bytes, files[i].size, CM_INPUT_COPIED, &in));
        in.report = note_first, in.report_user = &first;
        OK(cmi_tensors_open(&in, &t));
        OK(open_bytes(context, "x", files[i].bytes, files[i].size, &there));
        const size_t at = (size_t)(there.tensors[0].data - files[i].bytes);
        ck_assert_msg(t.count == 1 && t.tensors[0].data && (uintptr_t)(t.tensors[0].data - at) % 64 == 0, "file %d",
                      i);
        ck_assert_uint_eq(first, 0);
        cmi_tensors_close(&there);
        cmi_tensors_close(&t);
        free(files[i].bytes);
    }
}
END_TEST

/* --- files that are read as data -----------------------------------------------------------------------------------
 */

/* What stands beside the tensors, down to the third level, as text. */
START_TEST(notes)
{
    block p = {NULL, 0, 0};
    char longest[201];
    PUT(&p, "\200\2}(");
    put_entry(&p, "w", "0");
    PUT(&p, "U\1t\210U\1f\211U\1iK\7U\1nJ\377\377\377\377U\1dG\77\360\0\0\0\0\0\0U\1gG\77\325\125\125\125\125\125\125"
            "U\1sU\2hiU\5emptyU\0U\1oN"
            "U\1l](K\1}U\1zK\2sU\1xe"            /* l.0, l.1.z, l.2 */
            "U\1u(K\3t"                          /* u.0 */
            "U\1c}(U\1a}(U\1bK\4U\1e}U\1qK\5suu" /* c.a.b, but not c.a.e.q */
            "K\5K\6U\2nuU\2a\0"                  /* a key that is a number, a text with NUL */
            "U\7weightsK\1U\13consistency}U\1aK\1sU\5read.K\1U\4readK\2U\4reed}U\1aK\3s");
    for (size_t n = 199; n <= 200; n++) {
        memset(longest, 'v', n);
        longest[n] = '\0';
        put_text(&p, n == 199 ? "v199" : "v200");
        put_text(&p, longest);
    }
    PUT(&p, "u.");
    longest[199] = '\0';
    char expected[1000];
    snprintf(
        expected, sizeof expected,
        "w=0 [weights=the whole file] [t=true] [f=false] [i=7] [n=-1] [d=1] [g=0.333333333] [s=hi] [empty=] [l.0=1] "
        "[l.1.z=2] [l.2=x] [u.0=3] [c.a.b=4] [read=2] [reed.a=3] [v199=%s]",
        longest);
    block zip = zip_for(&p);
    expect(&zip, 1, expected);
    expect(&zip, 0, "w=0 [weights=the whole file]"); /* a model has none of them */
    free(zip.bytes);
}
END_TEST

/* The first 64 of them. */
START_TEST(many_notes)
{
    for (int n = 63; n <= 65; n++) {
        block p = {NULL, 0, 0};
        cm_input in;
        cm_tensors t;
        PUT(&p, "\200\2}(");
        for (int i = 0; i < n; i++) {
            char key[16];
            snprintf(key, sizeof key, "k%d", i);
            put_text(&p, key);
            PUT(&p, "K\1");
        }
        put_entry(&p, "w", "0");
        PUT(&p, "u.");
        block zip = zip_for(&p);
        OK(cmi_input_memory(context, "x", zip.bytes, zip.size, CM_INPUT_IN_PLACE, &in));
        in.as_data = 1;
        OK(cmi_tensors_open(&in, &t));
        ck_assert_uint_eq(t.metadata_count, 1 + (size_t)(n < 64 ? n : 64));
        cmi_tensors_close(&t);
        free(zip.bytes);
    }
}
END_TEST

/* As many values as are looked at, and one more. */
START_TEST(many_values)
{
    enum { MOST = 16 * CM_TENSORS_MAX, ITEMS = MOST - 3 }; /* the whole, w and the list */
    for (int more = 0; more < 2; more++) {
        block p = {NULL, 0, 0};
        PUT(&p, "\200\2}(");
        put_entry(&p, "w", "0");
        PUT(&p, "U\1l](Nq\0");
        for (int i = 1; i < ITEMS + more; i++) {
            PUT(&p, "h\0");
            if (i % 1000 == 0) PUT(&p, "e(");
        }
        PUT(&p, "eu.");
        block zip = zip_for(&p);
        if (more) refuse(&zip, 1, CM_ERR_LIMIT, "x: more than the limit of 1048576 values in each other");
        else expect(&zip, 1, "w=0 [weights=the whole file]");
        free(zip.bytes);
    }
}
END_TEST

/* The longest path that a tensor can have, and one byte more, which leaves it out. */
START_TEST(long_paths)
{
    static char name[CM_TENSOR_NAME];
    for (size_t n = CM_TENSOR_NAME - 3; n <= CM_TENSOR_NAME - 1; n++) { /* with ".1" behind it */
        block p = {NULL, 0, 0};
        cm_input in;
        cm_tensors t;
        PUT(&p, "\200\2}(");
        memset(name, 'n', n);
        put_text(&p, name);
        PUT(&p, "](K\1");
        put_tensor(&p, "FloatStorage", "1", 2, 0);
        PUT(&p, "eU\1m](");
        put_tensor(&p, "FloatStorage", "2", 2, 0);
        PUT(&p, "eu.");
        block zip = zip_for(&p);
        OK(cmi_input_memory(context, "x", zip.bytes, zip.size, CM_INPUT_IN_PLACE, &in));
        in.as_data = 1;
        OK(cmi_tensors_open(&in, &t));
        ck_assert_uint_eq(t.count, n + 2 <= CM_TENSOR_NAME ? 2 : 1);
        ck_assert_uint_eq(strlen(t.tensors[0].name), n + 2 <= CM_TENSOR_NAME ? n + 2 : 3);
        cmi_tensors_close(&t);
        free(zip.bytes);
    }
}
END_TEST

/* Where no model is in it, all tensors by their paths, and why it is none. */
START_TEST(tensors_by_paths)
{
    block p = {NULL, 0, 0};
    cm_input in;
    cm_tensors t;
    char text[1000];
    PUT(&p, "\200\2}(U\5state}(K\0}(");
    put_entry(&p, "exp_avg", "1");
    PUT(&p, "U\4stepK\5uK\7}(");
    put_entry(&p, "exp_avg", "2");
    PUT(&p, "uuU\14param_groups]}(U\2lrG\77\340\0\0\0\0\0\0U\6params](K\0K\7eua");
    PUT(&p, "U\5other](K\1");
    put_tensor(&p, "FloatStorage", "3", 2, 0);
    PUT(&p, "eu.");
    block zip = zip_for(&p);
    OK(cmi_input_memory(context, "x", zip.bytes, zip.size, CM_INPUT_IN_PLACE, &in));
    in.as_data = 1;
    OK(cmi_tensors_open(&in, &t));
    summarize(&t, text, sizeof text);
    ck_assert_str_eq(text, "state.0.exp_avg=1 state.7.exp_avg=2 other.1=3 [param_groups.0.lr=0.5] [other.0=1]");
    ck_assert_int_eq(t.of_optimizer, 1);
    ck_assert_ptr_nonnull(strstr(t.refusal, "this is the state of an optimizer"));
    cmi_tensors_close(&t);
    refuse(&zip, 0, CM_ERR_UNSUPPORTED, "this is the state of an optimizer");
    free(zip.bytes);
    p = (block){NULL, 0, 0}; /* lists of tensors, no optimizer's */
    PUT(&p, "\200\2}U\1a](");
    put_tensor(&p, "FloatStorage", "1", 2, 0);
    PUT(&p, "(");
    put_tensor(&p, "FloatStorage", "2", 2, 0);
    PUT(&p, "Ntes.");
    zip = zip_for(&p);
    OK(cmi_input_memory(context, "x", zip.bytes, zip.size, CM_INPUT_IN_PLACE, &in));
    in.as_data = 1;
    OK(cmi_tensors_open(&in, &t));
    summarize(&t, text, sizeof text);
    ck_assert_str_eq(text, "a.0=1 a.1.0=2");
    ck_assert_int_eq(t.of_optimizer, 0);
    ck_assert_ptr_nonnull(t.refusal);
    cmi_tensors_close(&t);
    free(zip.bytes);
    p = (block){NULL, 0, 0}; /* nothing but numbers: why it is no model is said as before */
    PUT(&p, "\200\2}U\1aK\1s.");
    zip = zip_for(&p);
    refuse(&zip, 1, CM_ERR_FORMAT, "a pickle with no tensors by name");
    free(zip.bytes);
    p = (block){NULL, 0, 0};
    PUT(&p, "\200\2](");
    put_tensor(&p, "FloatStorage", "1", 2, 0);
    PUT(&p, "e.");
    zip = zip_for(&p);
    refuse(&zip, 1, CM_ERR_FORMAT, "the saved object is a list");
    free(zip.bytes);
}
END_TEST

Suite *make_suite(void)
{
    Suite *s = suite_create("torch_files");
    TCase *t = tcase_create("files");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, members_of_a_zip);
    tcase_add_test(t, long_metadata);
    tcase_add_test(t, checksums_are_counted);
    tcase_add_test(t, legacy_streams);
    tcase_add_test(t, beginnings);
    tcase_add_test(t, nested_streams);
    tcase_add_test(t, modules);
    tcase_add_test(t, beginnings_of_names);
    tcase_add_test(t, names_in_modules);
    tcase_add_test(t, modules_in_each_other);
    tcase_add_test(t, entries_of_modules);
    tcase_add_test(t, copies_are_whole);
    tcase_add_test(t, many_values);
    tcase_add_test(t, long_paths);
    tcase_add_test(t, second_storage);
    tcase_add_test(t, notes);
    tcase_add_test(t, many_notes);
    tcase_add_test(t, tensors_by_paths);
    suite_add_tcase(s, t);
    return s;
}
