/* The pickle machine: every opcode with the value that it makes, what is refused with the place and the reason, and
 * the bounds of its memory. */
#include "support/pickled.h"

/* --- opcodes ------------------------------------------------------------------------------------------ */

START_TEST(constants_and_numbers)
{
    GIVES("N.", "None");
    GIVES("\210.", "True");
    GIVES("\211.", "False");
    GIVES("K\0.", "0");
    GIVES("K\377.", "255");
    GIVES("M\1\2.", "513");
    GIVES("M\377\377.", "65535");
    GIVES("J\1\2\3\4.", "67305985");
    GIVES("J\377\377\377\377.", "-1");
    GIVES("J\0\0\0\200.", "-2147483648");
    GIVES("J\377\377\377\177.", "2147483647");
    GIVES("\212\0.", "0");
    GIVES("\212\1\1.", "1");
    GIVES("\212\1\177.", "127");
    GIVES("\212\1\200.", "-128");
    GIVES("\212\1\377.", "-1");
    GIVES("\212\2\0\200.", "-32768");
    GIVES("\212\2\377\0.", "255");
    GIVES("\212\4\0\0\0\200.", "-2147483648");
    GIVES("\212\5\0\0\0\200\0.", "2147483648");
    GIVES("\212\7\1\0\0\0\0\0\200.", "-36028797018963967");
    GIVES("\212\10\1\2\3\4\5\6\7\10.", "578437695752307201");
    GIVES("\212\10\0\0\0\0\0\0\0\200.", "-9223372036854775808");
    GIVES("\212\12\154\374\234\106\371\040\152\250\120\031.", "magic");
    REFUSED("\212\11\0\0\0\0\0\0\0\0\0.", "byte 0: LONG1: an integer of 9 bytes; at most 8 are read");
    REFUSED("\212\12\154\374\234\106\371\040\152\250\120\030.", "LONG1: an integer of 10 bytes");
    REFUSED("\212\12\155\374\234\106\371\040\152\250\120\031.", "LONG1: an integer of 10 bytes");
    REFUSED("\212\13\154\374\234\106\371\040\152\250\120\031\0.", "LONG1: an integer of 11 bytes");
    GIVES("G\77\340\0\0\0\0\0\0.", "0.5f");
    GIVES("G\300\11\41\373\124\104\55\30.", "-3.14159265f");
    GIVES("G\177\360\0\0\0\0\0\0.", "inff");
    REFUSED("K", "byte 0: truncated: BININT1 needs 1 bytes, 0 are left");
    REFUSED("NM\1", "byte 1: truncated: BININT2 needs 2 bytes, 1 are left");
    REFUSED("NNJ\1\2\3", "byte 2: truncated: BININT needs 4 bytes, 3 are left");
    REFUSED("G\1\2\3\4\5\6\7", "truncated: BINFLOAT needs 8 bytes, 7 are left");
    REFUSED("\212", "truncated: LONG1 needs 1 bytes, 0 are left");
    REFUSED("\212\3\1\2", "truncated: LONG1 needs 3 bytes, 2 are left");
}
END_TEST

START_TEST(beginnings_and_ends)
{
    GIVES("\200\2N.", "None");
    GIVES("\200\3N.", "None");
    GIVES("\200\4N.", "None");
    GIVES("\200\5N.", "None");
    REFUSED("\200\1N.", "byte 0: PROTO 1: protocols 2 to 5 are known");
    REFUSED("\200\6N.", "PROTO 6: protocols");
    REFUSED("\200\0N.", "PROTO 0: protocols");
    REFUSED("\200", "truncated: PROTO needs 1 bytes, 0 are left");
    GIVES("\225\2\0\0\0\0\0\0\0N.", "None");
    GIVES("\225\0\0\0\0\0\0\0\0N.", "None");
    REFUSED("\225\3\0\0\0\0\0\0\0N.", "byte 0: truncated: FRAME needs 3 bytes, 2 are left");
    REFUSED("\225\0\0\0\0\0\0\0\1N.", "truncated: FRAME needs 72057594037927936 bytes, 2 are left");
    REFUSED("\225\0\0\0\0\0\0\0", "truncated: FRAME needs 8 bytes, 7 are left");
    REFUSED("", "byte 0: truncated: it ends without STOP");
    REFUSED("N", "byte 1: truncated: it ends without STOP");
    REFUSED(".", "byte 0: STOP with 0 values on the stack, expected 1");
    REFUSED("NN.", "byte 2: STOP with 2 values on the stack, expected 1");
    REFUSED("N(.", "STOP with 1 values");
    REFUSED("(N.", "STOP with 1 values");
    REFUSED("N0.", "byte 1: opcode POP is not allowed");
    REFUSED("NN\377.", "byte 2: 0xff is no opcode");
    REFUSED("\0.", "byte 0: 0x00 is no opcode");
    static const char *const names[] = {"POP_MARK",   "1",         "DUP",         "2",         "FLOAT",
                                        "F",          "INT",       "I",           "LONG",      "L",
                                        "STRING",     "S",         "UNICODE",     "V",         "PERSID",
                                        "P",          "DICT",      "d",           "LIST",      "l",
                                        "GET",        "g",         "PUT",         "p",         "INST",
                                        "i",          "OBJ",       "o",           "EXT1",      "\202",
                                        "EXT2",       "\203",      "EXT4",        "\204",      "LONG4",
                                        "\213",       "FROZENSET", "\221",        "NEWOBJ_EX", "\222",
                                        "BYTEARRAY8", "\226",      "NEXT_BUFFER", "\227",      "READONLY_BUFFER",
                                        "\230"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i += 2) {
        char words[64];
        snprintf(words, sizeof words, "byte 0: opcode %s is not allowed", names[i]);
        refused(names[i + 1], 1, CM_ERR_FORMAT, words);
    }
}
END_TEST

START_TEST(texts_and_bytes)
{
    GIVES("X\2\0\0\0ab.", "'ab'");
    GIVES("X\0\0\0\0.", "''");
    GIVES("\214\2ab.", "'ab'");
    GIVES("\215\2\0\0\0\0\0\0\0ab.", "'ab'");
    GIVES("T\2\0\0\0ab.", "'ab'");
    GIVES("U\2ab.", "'ab'");
    GIVES("X\6\0\0\0a\303\251\342\202\254.", "'a\303\251\342\202\254'");
    GIVES("B\3\0\0\0abc.", "bytes[3]@10");
    GIVES("C\3abc.", "bytes[3]@7");
    GIVES("\216\3\0\0\0\0\0\0\0abc.", "bytes[3]@14");
    GIVES("C\0.", "bytes[0]@7");
    GIVES("C\2\303\251.", "bytes[2]@7");
    GIVES("C\1\377.", "bytes[1]@7"); /* bytes are no text */
    REFUSED("X\1\0\0\0\377.", "byte 0: BINUNICODE: a string that is not valid UTF-8");
    REFUSED("\214\2a\303\251.", "SHORT_BINUNICODE: a string that is not valid UTF-8"); /* a character is cut */
    REFUSED("\214\2\342\202\254.", "not valid UTF-8");
    REFUSED("NX\3\0\0\0ab", "byte 1: truncated: BINUNICODE needs 3 bytes, 2 are left");
    REFUSED("X\3\0\0", "truncated: BINUNICODE needs 4 bytes, 3 are left");
    REFUSED("\214", "truncated: SHORT_BINUNICODE needs 1 bytes");
    REFUSED("\215\3\0\0\0\0\0\0", "truncated: BINUNICODE8 needs 8 bytes, 7 are left");
    REFUSED("\215\0\0\0\0\1\0\0\0a", "truncated: BINUNICODE8 needs 4294967296 bytes, 1 are left");
    REFUSED("T\3\0\0", "truncated: BINSTRING needs 4 bytes");
    REFUSED("U", "truncated: SHORT_BINSTRING needs 1 bytes");
    REFUSED("B\3\0\0", "truncated: BINBYTES needs 4 bytes");
    REFUSED("C", "truncated: SHORT_BINBYTES needs 1 bytes");
    REFUSED("\216\1\0\0\0\0\0\0", "truncated: BINBYTES8 needs 8 bytes");
    REFUSED("B\1\0\0\0", "truncated: BINBYTES needs 1 bytes, 0 are left");
    /* Long texts are passed over, one byte shorter ones are kept. */
    for (size_t n = CM_TENSOR_NAME - 1; n <= CM_TENSOR_NAME + 1; n++) {
        char *pickle = calloc(n + 10, 1);
        pickle[0] = 'X', pickle[1] = (char)n, pickle[2] = (char)(n >> 8);
        memset(pickle + 5, 'y', n);
        pickle[n + 5] = '.';
        machine m;
        make_machine(&m, pickle, n + 6);
        cm_pickled *v;
        size_t after;
        OK(cmi_pickle_run(m.p, "it", BEFORE, BEFORE + n + 6, &v, &after));
        ck_assert(v->kind == CM_PICKLED_TEXT && v->count == n && after == BEFORE + n + 6);
        ck_assert((v->u.text != NULL) == (n <= CM_TENSOR_NAME));
        ck_assert((cmi_pickled_text(v) != NULL) == (n <= CM_TENSOR_NAME));
        if (v->u.text) ck_assert(strlen(v->u.text) == n && strspn(v->u.text, "y") == n);
        end_machine(&m);
        free(pickle);
    }
}
END_TEST

START_TEST(collections)
{
    GIVES("}.", "{}");
    GIVES("].", "[]");
    GIVES(").", "()");
    GIVES("\217.", "<>");
    GIVES("(t.", "()");
    GIVES("(K\1K\2K\3K\4t.", "(1 2 3 4)");
    GIVES("N\205.", "(None)");
    GIVES("K\1K\2\206.", "(1 2)");
    GIVES("K\1K\2K\3\207.", "(1 2 3)");
    GIVES("K\1K\2K\3\206\206.", "(1 (2 3))");
    GIVES("(K\1(K\2t)\207t.", "((1 (2) ()))");
}
END_TEST

START_TEST(filling)
{
    GIVES("]K\1a.", "[1]");
    GIVES("]K\1aK\2a.", "[1 2]");
    GIVES("](e.", "[]");
    GIVES("](K\1K\2K\3e.", "[1 2 3]");
    GIVES("}K\1K\2s.", "{1:2}");
    GIVES("}K\1K\2sK\3K\4s.", "{1:2 3:4}");
    GIVES("}(u.", "{}");
    GIVES("}(K\1K\2K\3K\4u.", "{1:2 3:4}");
    GIVES("\217(K\1K\2\220.", "<1 2>");
    GIVES("(K\7]K\1at.", "(7 [1])");
    GIVES("(K\7](K\1et.", "(7 [1])");
    GIVES("(K\7}K\1K\2st.", "(7 {1:2})");
    GIVES("(]K\1at.", "([1])");
    GIVES("(}K\1K\2st.", "({1:2})");
    REFUSED("a.", "byte 0: the stack is empty");
    REFUSED("]a.", "the stack is empty");
    REFUSED("](a.", "the stack is empty");
    REFUSED("](Na.", "the stack is empty");
    REFUSED("s.", "the stack is empty");
    REFUSED("Ns.", "the stack is empty");
    REFUSED("}Ns.", "the stack is empty");
    REFUSED("}N(Ns.", "the stack is empty");
    REFUSED("}(NNs.", "the stack is empty");
    REFUSED("(e.", "the stack is empty");
    REFUSED("(Ne.", "the stack is empty");
    REFUSED("](NeNe.", "there is no mark on the stack");
    REFUSED("]((Ne.", "the stack is empty");
    REFUSED("t.", "there is no mark on the stack");
    REFUSED("}u.", "there is no mark");
    REFUSED("}(Nu.", "SETITEMS: a key without a value");
    REFUSED("}(NNNu.", "SETITEMS: a key without a value");
    REFUSED("\205.", "the stack is empty");
    REFUSED("N\206.", "the stack is empty");
    REFUSED("NN\207.", "the stack is empty");
    REFUSED("N(\205.", "the stack is empty");
    REFUSED("N(N\206.", "the stack is empty");
    REFUSED(")Na.", "byte 2: APPEND: a tuple cannot take items");
    REFUSED("}Na.", "APPEND: a dictionary cannot take items");
    REFUSED("](NNu.", "SETITEMS: a list cannot take items");
    REFUSED("]NNs.", "SETITEM: a list cannot take items");
    REFUSED("\217(Ne.", "APPENDS: a set cannot take items");
    REFUSED("](N\220.", "ADDITEMS: a list cannot take items");
    REFUSED("NNa.", "APPEND: None cannot take items");
    REFUSED("\210Na.", "APPEND: a truth value cannot take items");
    REFUSED("K\1Na.", "APPEND: a number cannot take items");
    REFUSED("\212\12\154\374\234\106\371\040\152\250\120\031Na.", "APPEND: a long number cannot take items");
    REFUSED("G\0\0\0\0\0\0\0\0Na.", "APPEND: a number cannot take items");
    REFUSED("U\0Na.", "APPEND: a string cannot take items");
    REFUSED("C\0Na.", "APPEND: bytes cannot take items");
    REFUSED("ctorch\nSize\nNa.", "APPEND: a symbol cannot take items");
    GIVES("(c_codecs\nencode\n)RK\1at.", "(opaque)"); /* an array of objects, say */
    GIVES("(c_codecs\nencode\n)R(K\1K\2et.", "(opaque)");
    GIVES("(c_codecs\nencode\n)RK\1K\2st.", "(opaque)");
}
END_TEST

START_TEST(memo)
{
    GIVES("(K\7q\0K\1h\0t.", "(7 1 7)");
    GIVES("(K\7r\0\0\0\0K\1j\0\0\0\0t.", "(7 1 7)");
    GIVES("(K\7q\0K\10q\1h\0h\1t.", "(7 8 7 8)");
    GIVES("(K\7\224K\10\224h\0h\1t.", "(7 8 7 8)");
    GIVES("(K\7q\2\224h\3t.", "(7 7)");
    GIVES("(K\1q\0K\2q\0h\0t.", "(1 2 2)");
    GIVES("(]q\0K\1ah\0K\2at.", "([1 2] [1 2])"); /* the same list */
    /* 262: twice the three opcodes before it and 256 */
    GIVES("(K\10K\7r\6\1\0\0K\1j\6\1\0\0t.", "(8 7 1 7)");
    OVER_LIMIT("(K\10K\7r\7\1\0\0K\1j\7\1\0\0t.", "byte 5: memo index 263 is far beyond the 3 opcodes before it");
    OVER_LIMIT("Nr\377\377\377\377.", "memo index 4294967295 is far beyond the 1 opcodes");
    REFUSED("h\0.", "byte 0: BINGET: the memo has nothing at index 0");
    REFUSED("Nq\0h\1.", "BINGET: the memo has nothing at index 1");
    REFUSED("Nq\1h\0.", "BINGET: the memo has nothing at index 0");
    REFUSED("Nq\0j\0\0\0\1.", "LONG_BINGET: the memo has nothing at index 16777216");
    REFUSED("q\0.", "the stack is empty");
    REFUSED("\224.", "the stack is empty");
    REFUSED("N(q\0.", "the stack is empty");
    REFUSED("Nq", "truncated: BINPUT needs 1 bytes, 0 are left");
    REFUSED("Nr\0\0\0", "truncated: LONG_BINPUT needs 4 bytes, 3 are left");
    REFUSED("h", "truncated: BINGET needs 1 bytes");
    REFUSED("j\0\0\0", "truncated: LONG_BINGET needs 4 bytes, 3 are left");
}
END_TEST

START_TEST(names_of_symbols)
{
    GIVES("ctorch\nSize\n.", "torch Size");
    GIVES("U\5torchU\4Size\223.", "torch Size");
    REFUSED("cposix\nsystem\n.", "byte 0: symbol 'posix system' is not allowed: nothing that a file names is run");
    REFUSED("U\5posixU\6system\223.", "byte 15: symbol 'posix system' is not allowed");
    REFUSED("ctorch\nsize\n.", "symbol 'torch size' is not allowed");
    REFUSED("ctorc\nSize\n.", "symbol 'torc Size' is not allowed");
    REFUSED("ca b\n~\n.", "symbol 'a b ~' is not allowed");
    REFUSED("ctor\37ch\nSize\n.", "GLOBAL: a name with the byte 0x1f");
    REFUSED("ctorch\nSize\177\n.", "GLOBAL: a name with the byte 0x7f");
    REFUSED("ctorch", "truncated: GLOBAL needs 1 bytes, 0 are left");
    REFUSED("ctorch\nSize", "truncated: GLOBAL needs 1 bytes, 0 are left");
    REFUSED("NU\4Size\223.", "STACK_GLOBAL: its names are not strings");
    REFUSED("U\5torchN\223.", "STACK_GLOBAL: its names are not strings");
    REFUSED("U\1\0U\4Size\223.", "STACK_GLOBAL: its names are not strings");
    REFUSED("U\4Size\223.", "the stack is empty");
    NOT_SUPPORTED("ctorch\nQUInt8Storage\n.", "byte 0: 'torch QUInt8Storage' is not supported");
    NOT_SUPPORTED("ctorch\nfloat8_e5m2\n.", "'torch float8_e5m2' is not supported");
    for (int n = 254; n <= 256; n++)
        for (int second = 0; second < 2; second++) {
            char pickle[600] = "c", *at = pickle + 1;
            if (second) at += sprintf(at, "torch\n");
            memset(at, 'x', (size_t)n);
            strcpy(at + n, second ? "\n." : "\nSize\n.");
            if (n < 256) refused(pickle, strlen(pickle), CM_ERR_FORMAT, "is not allowed");
            else refused(pickle, strlen(pickle), CM_ERR_LIMIT, "GLOBAL: a name of more than 255 bytes");
        }
}
END_TEST

START_TEST(calls_and_states)
{
    REFUSED("N)R.", "byte 2: REDUCE: None is called");
    REFUSED("ctorch\nFloatStorage\n)R.", "REDUCE: a symbol is called");
    REFUSED("ctorch\nfloat32\n)R.", "REDUCE: a symbol is called");
    REFUSED("ctorch\nSize\nNR.", "REDUCE: the arguments are None");
    REFUSED("ctorch\nSize\n]R.", "REDUCE: the arguments are a list");
    REFUSED("N)\201.", "NEWOBJ: None is called");
    REFUSED(")R.", "the stack is empty");
    REFUSED("R.", "the stack is empty");
    GIVES("}}b.", "{}");
    GIVES("cdnnlib.util\nEasyDict\n)\201}K\1K\2sb.", "{}");
    GIVES("c_codecs\nencode\n)RNb.", "opaque");
    GIVES("c_codecs\nencode\n)R}b.", "opaque");
    GIVES("ctorch.nn.modules.container\nSequential\n)\201.", "object(None)");
    GIVES("ctorch.nn.modules.container\nSequential\n)\201}K\1K\2sb.", "object(None {1:2})");
    REFUSED("ctorch.nn.modules.container\nSequential\n)\201}b}b.", "BUILD: a module gets a dictionary for its state");
    REFUSED("ctorch.nn.modules.container\nSequential\n)\201]b.", "BUILD: a module gets a list for its state");
    REFUSED("}Nb.", "BUILD: a dictionary gets None for its state");
    REFUSED("]}b.", "BUILD: a list gets a dictionary for its state");
    REFUSED("Nb.", "the stack is empty");
    REFUSED("N(Nb.", "the stack is empty");
}
END_TEST

/* --- looking at values ------------------------------------------------------------------------------------ */

static cm_pickled *run(machine *m)
{
    cm_pickled *v;
    size_t after;
    OK(cmi_pickle_run(m->p, "it", BEFORE, BEFORE + m->size, &v, &after));
    return v;
}

START_TEST(entries_by_name)
{
    static const char bytes[] = "}(U\1aK\1U\1bK\2U\1aK\3K\7K\4U\2c\0K\5U\0K\6u.";
    machine m;
    make_machine(&m, bytes, sizeof bytes - 1);
    const cm_pickled *v = run(&m), *number = v->u.items[1], *text_with_nul = v->u.items[8];
    ck_assert_int_eq(cmi_pickled_get(v, "a")->u.integer, 1); /* the first of that name */
    ck_assert_int_eq(cmi_pickled_get(v, "b")->u.integer, 2);
    ck_assert_int_eq(cmi_pickled_get(v, "")->u.integer, 6);
    ck_assert_ptr_null(cmi_pickled_get(v, "c"));
    ck_assert_ptr_null(cmi_pickled_get(v, "d"));
    ck_assert_ptr_null(cmi_pickled_get(number, "a"));
    ck_assert_ptr_null(cmi_pickled_text(number));
    ck_assert_ptr_null(cmi_pickled_text(text_with_nul));
    ck_assert_str_eq(cmi_pickled_text(v->u.items[2]), "b");
    end_machine(&m);
}
END_TEST

#if SIZE_MAX > UINT32_MAX
/* A text of four gigabytes, of which nobody reads more than its length. */
static int32_t give_long(void *user, uint64_t offset, void *to, size_t n)
{
    static const char begin[] = "\215\377\377\377\377\0\0\0\0";
    const int over = *(const int *)user;
    for (size_t i = 0; i < n; i++) {
        const uint64_t at = offset + i;
        char c = at < 9 ? begin[at] : '.';
        if (over && at < 9 && at > 0) c = at == 5;
        ((char *)to)[i] = c;
    }
    return (int32_t)n;
}

START_TEST(longest_text)
{
    for (int over = 0; over < 2; over++) {
        const cm_reader reader = {sizeof reader, 0, (uint64_t)5 << 30, give_long, &over};
        cm_input in;
        cm_pickle *p;
        cm_pickled *v;
        size_t after;
        OK(cmi_input_reader(context, &reader, CM_INPUT_FETCHED, &in));
        OK(cmi_pickle_open(&in, 100, &p));
        cm_status status = cmi_pickle_run(p, "it", 0, in.size, &v, &after);
        if (over) FAILS(status, CM_ERR_LIMIT, "byte 0: BINUNICODE8: more than 4 GiB");
        else ck_assert(status == CM_OK && v->count == UINT32_MAX && after == (size_t)UINT32_MAX + 10);
        cmi_pickle_close(p);
        cmi_input_close(&in);
    }
}
END_TEST
#endif

/* --- bounds --------------------------------------------------------------------------------------------------- */

/* N tuples, lists, dictionaries or objects in each other. */
static void nested(const char *first, const char *piece, size_t most)
{
    for (size_t depth = most - 1; depth <= most + 1; depth++) {
        char pickle[1000], *at = pickle;
        at += sprintf(at, "%s", first);
        for (size_t i = 0; i < depth; i++) at += sprintf(at, "%s", piece);
        *at++ = '.';
        machine m;
        make_machine(&m, pickle, (size_t)(at - pickle));
        cm_pickled *v;
        size_t after;
        cm_status status = cmi_pickle_run(m.p, "it", BEFORE, BEFORE + m.size, &v, &after);
        if (depth <= most) ck_assert_msg(status == CM_OK && v->depth == CM_PICKLE_DEPTH - most + depth, "%zu", depth);
        else
            ck_assert(status == CM_ERR_LIMIT && strstr(cm_last_message(), "values nest deeper than the limit of 64"));
        end_machine(&m);
    }
}

START_TEST(depth)
{
    nested(")", "\205", 64);
    nested("N", "\205", 64);
    nested("N", "N\206", 64);
    nested("NN\206", "N\206", 63);
    nested("N", "NN\207", 64);
}
END_TEST

/* Numbers wherever the window over the bytes ends, and a pickle before the one that was just run. */
START_TEST(windows)
{
    enum { MOST = CM_PICKLE_WINDOW + 60 };
    char *pickle = malloc(MOST);
    for (size_t begins = CM_PICKLE_WINDOW - 24; begins < CM_PICKLE_WINDOW + 4; begins++) {
        memset(pickle, 'a', MOST);
        const size_t n = begins - 6; /* a text up to there */
        memcpy(pickle, "(X", 2);
        pickle[2] = (char)n, pickle[3] = (char)(n >> 8), pickle[4] = 0, pickle[5] = 0;
        memcpy(pickle + begins, "J\1\2\3\4G\77\340\0\0\0\0\0\0U\2xyt.", 20);
        machine m;
        make_machine(&m, pickle, begins + 20);
        text[0] = '\0';
        describe(run(&m));
        char expected[100];
        snprintf(expected, sizeof expected, "(text[%zu] 67305985 0.5f 'xy')", n);
        ck_assert_str_eq(text, expected);
        for (int again = 0; again < 2; again++) {
            text[0] = '\0';
            describe(run(&m));
            ck_assert_str_eq(text, expected);
        }
        end_machine(&m);
    }
    free(pickle);
}
END_TEST

/* Each byte of the program is read once. */
static int32_t give_ones(void *user, uint64_t offset, void *to, size_t n)
{
    size_t *read = user;
    *read += n;
    memset(to, 'N', n);
    if (offset == 0) memcpy(to, "](", 2);
    if (offset + n == 100000) memcpy((char *)to + n - 2, "e.", 2);
    return (int32_t)n;
}

START_TEST(bytes_are_read_once)
{
    size_t bytes = 0, after;
    const cm_reader reader = {sizeof reader, 0, 100000, give_ones, &bytes};
    cm_input in;
    cm_pickle *p;
    cm_pickled *v;
    OK(cmi_input_reader(context, &reader, CM_INPUT_FETCHED, &in));
    OK(cmi_pickle_open(&in, 100000, &p));
    OK(cmi_pickle_run(p, "it", 0, 100000, &v, &after));
    ck_assert(v->kind == CM_PICKLED_LIST && v->count == 100000 - 4 && after == 100000);
    ck_assert_uint_eq(bytes, 100000);
    cmi_pickle_close(p);
    cmi_input_close(&in);
}
END_TEST

#if SIZE_MAX > UINT32_MAX
/* A mark has 32 bits. */
START_TEST(highest_mark)
{
    machine m;
    make_machine(&m, "N.", 2);
    m.p->depth = UINT32_MAX;
    OK(cmi_opcodes['('].run(m.p, &cmi_opcodes['(']));
    ck_assert_uint_eq(cmi_pickle_floor(m.p), UINT32_MAX);
    m.p->depth++;
    FAILS(cmi_opcodes['('].run(m.p, &cmi_opcodes['(']), CM_ERR_LIMIT, "the stack is too high");
    end_machine(&m);
}
END_TEST
#endif

/* Memory is in chunks of 16 KiB, in parts of 8 bytes; larger parts have a chunk of their own. */
START_TEST(memory_of_values)
{
    enum { CHUNK = 16 << 10, HEAD = sizeof(cm_pickle_chunk) };
    machine m;
    make_machine(&m, "N.", 2);
    cm_pickle *p = m.p;
    void *a, *b, *c, *d;
    ck_assert_uint_eq(p->most, (8 << 20) + 2 * 8);
    OK(cmi_pickle_allocate(p, 1, &a));
    OK(cmi_pickle_allocate(p, 8, &b));
    OK(cmi_pickle_allocate(p, 9, &c));
    OK(cmi_pickle_allocate(p, 24, &d));
    ck_assert_int_eq((char *)b - (char *)a, 8);
    ck_assert_int_eq((char *)c - (char *)b, 8);
    ck_assert_int_eq((char *)d - (char *)c, 16);
    ck_assert_uint_eq(p->memory, CHUNK + HEAD);
    OK(cmi_pickle_allocate(p, CHUNK - 56, &a)); /* all that is left */
    memset(a, 1, CHUNK - 56);
    ck_assert_uint_eq(p->memory, CHUNK + HEAD);
    OK(cmi_pickle_allocate(p, 1, &a));
    ck_assert_uint_eq(p->memory, 2 * (CHUNK + HEAD));
    OK(cmi_pickle_allocate(p, CHUNK + 1, &a));
    memset(a, 1, CHUNK + 1);
    ck_assert_uint_eq(p->memory, 3 * (CHUNK + HEAD) + 8);
    p->most = p->memory + CHUNK + HEAD;
    OK(cmi_pickle_allocate(p, CHUNK, &a)); /* to the last byte of the limit */
    ck_assert_uint_eq(p->memory, p->most);
    FAILS(cmi_pickle_allocate(p, 8, &a), CM_ERR_LIMIT, "its values need more than the limit of");
    end_machine(&m);
    make_machine(&m, "N.", 2);
    const char *first, *second;
    OK(cmi_pickle_keep(m.p, "1234567", &first)); /* with its NUL eight bytes, of which no more are copied */
    OK(cmi_pickle_keep(m.p, "x", &second));
    ck_assert(strcmp(first, "1234567") == 0 && second - first == 8);
    end_machine(&m);
    make_machine(&m, "N.", 2);
    m.p->most = CHUNK + HEAD - 1;
    FAILS(cmi_pickle_allocate(m.p, 8, &a), CM_ERR_LIMIT, "its values need more than the limit of");
    end_machine(&m);
    cm_input in;
    OK(cmi_input_memory(context, "x", "", 0, CM_INPUT_IN_PLACE, &in));
    OK(cmi_pickle_open(&in, 1000, &p));
    ck_assert_uint_eq(p->most, (8 << 20) + 8000);
    cmi_pickle_close(p);
    OK(cmi_pickle_open(&in, SIZE_MAX, &p));
    ck_assert_uint_eq(p->most, SIZE_MAX);
    cmi_pickle_close(p);
    OK(cmi_pickle_open(&in, (SIZE_MAX - (8 << 20)) / 8, &p));
    ck_assert_uint_eq(p->most, SIZE_MAX);
    cmi_pickle_close(p);
    OK(cmi_pickle_open(&in, (SIZE_MAX - (8 << 20)) / 8 - 1, &p));
    ck_assert_uint_gt(p->most, SIZE_MAX - 16);
    cmi_pickle_close(p);
    cmi_input_close(&in);
}
END_TEST

/* Lists double: many items take no more than four times their room in all; the stack counts its own. */
START_TEST(memory_of_lists)
{
    enum { ITEMS = 1000 };
    machine m;
    make_machine(&m, "N.", 2);
    cm_pickled *list, *item;
    OK(cmi_pickle_make(m.p, CM_PICKLED_LIST, &list));
    OK(cmi_pickle_make_text(m.p, "ab", &item));
    ck_assert(item->count == 2 && strcmp(item->u.text, "ab") == 0);
    for (uint32_t i = 0; i < ITEMS; i++) {
        OK(cmi_pickle_append(m.p, list, item));
        ck_assert_uint_eq(list->count, i + 1);
        ck_assert_uint_ge(list->capacity, list->count);
    }
    for (int i = 0; i < ITEMS; i++) ck_assert_ptr_eq(list->u.items[i], item);
#if SIZE_MAX > UINT32_MAX
    for (uint32_t more = 0; more < 2; more++) { /* as long as a list may be, and longer */
        cm_pickled full = {
            .kind = CM_PICKLED_LIST, .count = UINT32_MAX / 4 + more, .capacity = UINT32_MAX / 4 + more};
        FAILS(cmi_pickle_append(m.p, &full, item), CM_ERR_LIMIT, more ? "too many items" : "its values need more");
    }
#endif
    ck_assert_uint_lt(m.p->memory, 5 * ITEMS * sizeof(void *));
    size_t before = m.p->memory;
    for (int i = 1; i <= 129; i++) {
        OK(cmi_pickle_push(m.p, item));
        ck_assert_uint_eq(m.p->memory, before + (i > 128 ? 256 : i > 64 ? 128 : 64) * sizeof(void *));
    }
    m.p->most = m.p->memory; /* 256 have room */
    for (int i = 130; i <= 256; i++) OK(cmi_pickle_push(m.p, item));
    FAILS(cmi_pickle_push(m.p, item), CM_ERR_LIMIT, "its values need more");
    for (int i = 0; i < 256; i++) {
        cm_pickled *top;
        OK(cmi_pickle_top(m.p, &top));
        ck_assert_ptr_eq(top, item);
        OK(cmi_pickle_pop(m.p, &top));
    }
    FAILS(cmi_pickle_pop(m.p, &item), CM_ERR_FORMAT, "the stack is empty");
    FAILS(cmi_pickle_top(m.p, &item), CM_ERR_FORMAT, "the stack is empty");
    end_machine(&m);
}
END_TEST

Suite *make_suite(void)
{
    Suite *s = suite_create("pickle");
    TCase *t = tcase_create("pickle");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, constants_and_numbers);
    tcase_add_test(t, beginnings_and_ends);
    tcase_add_test(t, texts_and_bytes);
    tcase_add_test(t, collections);
    tcase_add_test(t, filling);
    tcase_add_test(t, memo);
    tcase_add_test(t, names_of_symbols);
    tcase_add_test(t, calls_and_states);
    tcase_add_test(t, entries_by_name);
#if SIZE_MAX > UINT32_MAX
    tcase_add_test(t, longest_text);
    tcase_add_test(t, highest_mark);
#endif
    tcase_add_test(t, depth);
    tcase_add_test(t, windows);
    tcase_add_test(t, bytes_are_read_once);
    tcase_add_test(t, memory_of_values);
    tcase_add_test(t, memory_of_lists);
    suite_add_tcase(s, t);
    return s;
}
