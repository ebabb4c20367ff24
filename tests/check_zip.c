/* Archives with numbers of 64 bits: sizes, places, a directory and a count that 32 or 16 bits do not hold, read back
 * by this library and by Python's zipfile.  Numbers beyond 4 GiB are real in the long effort; else the writer takes
 * smaller ones for large. */
#include "support/suite.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "io/directory.h"
#include "io/torch_write.h"
#include "io/zip_directory.h"
#include "io/zip_write.h"

static cm_context *context;
static char dir[64], path[80];

static void setup(void)
{
    OK(cm_context_create(NULL, &context));
    snprintf(dir, sizeof dir, "/tmp/cm-zip-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/x.pt", dir);
}

static void teardown(void)
{
    OK(cmi_directory_remove(dir));
    cm_context_free(context);
}

/* --- zeros that take no room --------------------------------------------------------------------- */

/* Pages of zeros without memory, and a write of them that leaves a hole in the file. */
static const unsigned char *zeros;
static size_t zeros_size;

ssize_t write(int fd, const void *data, size_t size)
{
    const unsigned char *p = data;
    if (!zeros || p < zeros || p >= zeros + zeros_size) return (ssize_t)syscall(SYS_write, fd, data, size);
    return lseek(fd, (off_t)size, SEEK_CUR) < 0 ? -1 : (ssize_t)size;
}

static void make_zeros(size_t size)
{
    void *p = mmap(NULL, size, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    ck_assert_ptr_ne(p, MAP_FAILED);
    zeros = p;
    zeros_size = size;
}

/* --- readers ------------------------------------------------------------------------------------- */

/* Every sum is right, and there are so many members; Python's directory is not ours. */
static void python_reads(size_t members, const char *last)
{
    char command[600];
    const char *python = getenv("PYTHON") ? getenv("PYTHON") : "python3";
    snprintf(command, sizeof command, "%s -c 'import zipfile' 2>/dev/null", python);
    if (system(command) != 0) {
        skipped("archives read by Python: there is no %s", python);
        return;
    }
    snprintf(command, sizeof command,
             "%s -c 'import sys, zipfile; z = zipfile.ZipFile(\"%s\"); n = z.namelist(); "
             "sys.exit(z.testzip() is not None or len(n) != %zu or n[-1] != \"%s\")'",
             python, path, members, last);
    ck_assert_int_eq(system(command), 0);
}

static void we_read(size_t members, const char *const *names, const char *const *texts, size_t count)
{
    cm_input in;
    cm_zip_directory d;
    char text[64];
    OK(cmi_input_file(context, path, CM_INPUT_FETCHED, &in));
    OK(cmi_zip_directory_read(&in, &d));
    ck_assert_uint_eq(d.count, members);
    for (size_t i = 0; i < d.count; i++) {
        ck_assert_uint_eq(d.members[i].at % CM_ZIP_ALIGNMENT, 0);
        OK(cmi_zip_member_check(&in, &d.members[i]));
    }
    for (size_t i = 0; i < count; i++) {
        const cm_zip_member *m = cmi_zip_directory_find(&d, names[i]);
        ck_assert(m && m->size == strlen(texts[i]));
        OK(cmi_input_read(&in, m->at, text, m->size));
        ck_assert_mem_eq(text, texts[i], m->size);
    }
    cmi_zip_directory_close(&d);
    cmi_input_close(&in);
}

static int holds(const char *what, size_t n)
{
    static unsigned char bytes[4096];
    FILE *f = fopen(path, "rb");
    ck_assert_ptr_nonnull(f);
    size_t size = fread(bytes, 1, sizeof bytes, f);
    fclose(f);
    for (size_t i = 0; i + n <= size; i++)
        if (memcmp(bytes + i, what, n) == 0) return 1;
    return 0;
}

/* --- cases --------------------------------------------------------------------------------------- */

/* With each limit other numbers are large: all of them, all but one size, places alone, the directory's place alone,
 * none. */
START_TEST(numbers_of_64_bits)
{
    static const char *const names[] = {"a/data.pkl", "a/empty", "a/short", "a/version"};
    static const char *const texts[] = {"something of forty bytes, forty of them.", "", "x", "3\n"};
    static const uint64_t limits[] = {1, 2, 40, 41, 100, 200, 250, 0xffffffff};
    for (size_t l = 0; l < sizeof limits / sizeof *limits; l++) {
        cm_zip_writer w;
        OK(cmi_zip_begin(context, path, 1, 4, &w));
        if (limits[l] < w.large) w.large = limits[l];
        for (int i = 0; i < 4; i++) OK(cmi_zip_add(&w, names[i], texts[i], strlen(texts[i]), NULL));
        OK(cmi_zip_commit(&w));
        ck_assert_int_eq(holds("PK\6\6", 4), limits[l] < 0xffffffff); /* the end of 64 bits */
        ck_assert_int_eq(holds("PK\6\7", 4), limits[l] < 0xffffffff);
        we_read(4, names, texts, 4);
        python_reads(4, names[3]);
    }
}
END_TEST

/* A count of 65,535 and more is one of 64 bits; one less is not. */
START_TEST(as_many_members_as_that)
{
    static const char *const names[] = {"first"}, *const texts[] = {"1"};
    const size_t last = (size_t)by_effort(65535, 65535, 65536);
    for (size_t members = (size_t)by_effort(65535, 65535, 65534); members <= last; members++) {
        cm_zip_writer w;
        char name[16] = "first";
        OK(cmi_zip_begin(context, path, 1, members, &w));
        for (size_t i = 0; i < members; i++) {
            OK(cmi_zip_add(&w, name, "1", 1, NULL));
            snprintf(name, sizeof name, "%zu", i + 2);
        }
        OK(cmi_zip_commit(&w));
        we_read(members, names, texts, 1);
        snprintf(name, sizeof name, "%zu", members);
        python_reads(members, name);
    }
}
END_TEST

/* The strides of a tensor without elements, which takes no room, are beyond what the pickle writes in 32 bits. */
START_TEST(large_numbers_of_the_pickle)
{
    cm_tensors t;
    const cm_tensor out = {.name = "empty",
                           .type = CM_TENSOR_F32,
                           .rank = 4,
                           .shape = {0, 3, 65536, 65536},
                           .data = (const unsigned char *)""};
    OK(cmi_torch_write(context, path, 0, NULL, &out, 1, NULL));
    OK(cmi_tensors_open_file(context, path, CM_INPUT_IN_PLACE, &t));
    ck_assert(t.count == 1 && t.tensors[0].rank == 4 && t.tensors[0].count == 0);
    ck_assert_mem_eq(t.tensors[0].shape, out.shape, sizeof out.shape);
    cmi_tensors_close(&t);
}
END_TEST

/* PyTorch's file with a tensor of more than 4 GiB and small ones behind it, so that a size, places and the directory
 * are beyond 4 GiB, and the number of elements beyond what the pickle writes in 32 bits. */
START_TEST(above_4_gib)
{
    static const float small[] = {1.5f, -2, 3};
    const int64_t rows = 65537, columns = 65536;
    cm_tensors t;
    struct stat st;
    if (!by_effort(0, 0, 1)) {
        skipped("an archive above 4 GiB: this effort is not long");
        return;
    }
    make_zeros((size_t)(rows * columns));
    const cm_tensor three = {.name = "before",
                             .type = CM_TENSOR_F32,
                             .rank = 1,
                             .shape = {3},
                             .count = 3,
                             .bytes = sizeof small,
                             .data = (const unsigned char *)small};
    cm_tensor list[] = {three, three, three};
    list[1] = (cm_tensor){.name = "large", .type = CM_TENSOR_U8, .rank = 2, .shape = {rows, columns}};
    list[1].count = list[1].bytes = zeros_size;
    list[1].data = zeros;
    list[2].name = "behind";
    OK(cmi_torch_write(context, path, 0, NULL, list, 3, NULL));
    ck_assert_int_eq(stat(path, &st), 0);
    ck_assert(st.st_size > (off_t)zeros_size && st.st_blocks < 4096); /* it takes no room */
    OK(cmi_tensors_open_file(context, path, CM_INPUT_IN_PLACE, &t));
    ck_assert_uint_eq(t.count, 3);
    const cm_tensor *large = cmi_tensors_find(&t, "large"), *behind = cmi_tensors_find(&t, "behind");
    ck_assert(large && large->count == zeros_size && large->shape[0] == rows && large->shape[1] == columns);
    ck_assert(large->data && large->data[zeros_size - 1] == 0);
    ck_assert(behind && behind->data && memcmp(behind->data, small, sizeof small) == 0);
    cmi_tensors_close(&t);
    we_read(6, NULL, NULL, 0);
    python_reads(6, CM_TORCH_ROOT "/version");
}
END_TEST

Suite *make_suite(void)
{
    Suite *s = suite_create("zip");
    TCase *t = tcase_create("files");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_set_timeout(t, 600);
    tcase_add_test(t, numbers_of_64_bits);
    tcase_add_test(t, as_many_members_as_that);
    tcase_add_test(t, large_numbers_of_the_pickle);
    tcase_add_test(t, above_4_gib);
    suite_add_tcase(s, t);
    return s;
}
