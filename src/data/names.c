/* names.c - see the header. */
#include "data/names.h"

#include <string.h>
#include <strings.h>

static int same(const char *part, size_t length, const char *word)
{
    return strlen(word) == length && strncasecmp(part, word, length) == 0;
}

static int ends(const char *part, size_t length, const char *end)
{
    size_t n = strlen(end);
    return length > n && strncasecmp(part + length - n, end, n) == 0;
}

/* --- what is no data ------------------------------------------------------------------ */

int cmi_name_is_system(const char *part, size_t length)
{
    static const char *const names[] = {/* macOS */
                                        "__MACOSX", "Network Trash Folder", "Temporary Items", "Icon\r",
                                        /* Windows */
                                        "Thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini",
                                        "$RECYCLE.BIN", "$AV_ASW", "System Volume Information", "found.000",
                                        /* network disks, telephones, Linux, Python */
                                        "@eaDir", "#recycle", "#snapshot", "~snapshot", "@Recycle",
                                        "@Recently-Snapshot", "@sharebin", "@tmp", "LOST.DIR", "lost+found",
                                        "__pycache__"};
    static const char *const unfinished[] = {
        "~",    ".part", ".partial", ".crdownload", ".download", ".opdownload", ".incomplete", ".filepart",
        ".tmp", ".temp", ".swp",     ".swo",        ".bak",      ".aria2",      ".!ut",        ".!qB"};
    if (length == 0) return 0;
    if (part[0] == '.' || (length > 2 && memcmp(part, "~$", 2) == 0)) return 1;
    if (length > 2 && part[0] == '#' && part[length - 1] == '#') return 1;
    /* In capitals alone: in small letters they may be classes. */
    if (length == 8 && (memcmp(part, "RECYCLER", 8) == 0 || memcmp(part, "RECYCLED", 8) == 0)) return 1;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (same(part, length, names[i])) return 1;
    for (size_t i = 0; i < sizeof unfinished / sizeof *unfinished; i++)
        if (ends(part, length, unfinished[i])) return 1;
    return 0;
}

static int any_system(const char *name)
{
    while (*name) {
        size_t n = strcspn(name, "/");
        if (cmi_name_is_system(name, n)) return 1;
        name += n + (name[n] == '/');
    }
    return 0;
}

/* --- endings --------------------------------------------------------------------------- */

static const char *const formats[] = {
    ".webp", ".gif", ".bmp", ".dib",  ".tif",  ".tiff", ".heic", ".heif", ".avif", ".jp2",  ".j2k", ".jpx", ".jxl",
    ".jxr",  ".svg", ".ico", ".icns", ".tga",  ".psd",  ".xcf",  ".pbm",  ".pgm",  ".ppm",  ".pnm", ".pam", ".pcx",
    ".exr",  ".hdr", ".dds", ".qoi",  ".apng", ".mng",  ".eps",  ".pdf",  ".dng",  ".cr2",  ".cr3", ".nef", ".arw",
    ".orf",  ".rw2", ".raf", ".dcm",  ".mp4",  ".m4v",  ".mov",  ".avi",  ".mkv",  ".webm", ".mpg"};
/* Files that may hold many pictures. */
static const char *const packed[] = {
    ".tar", ".zip", ".gz",   ".tgz", ".bz2", ".xz",     ".zst",     ".rar",   ".7z",       ".npy",       ".npz",
    ".mat", ".h5",  ".hdf5", ".mdb", ".pkl", ".pickle", ".parquet", ".arrow", ".tfrecord", ".tfrecords", ".rec"};
enum { FORMATS = sizeof formats / sizeof *formats, PACKED = sizeof packed / sizeof *packed };
_Static_assert(FORMATS + PACKED <= CM_NAME_ENDINGS, "more endings than are counted");

const char *cmi_name_ending(int number)
{
    if (number < 0 || number >= FORMATS + PACKED) return NULL;
    return number < FORMATS ? formats[number] : packed[number - FORMATS];
}

int cmi_name_ending_packed(int number)
{
    return number >= FORMATS;
}

cm_name_kind cmi_name_kind_of(const char *name, int *ending)
{
    static const char *const read[] = {".jpg", ".jpeg", ".jpe", ".jfif", ".png"};
    const char *slash = strrchr(name, '/'), *base = slash ? slash + 1 : name;
    size_t n = strlen(base);
    *ending = -1;
    if (any_system(name)) return CM_NAME_SYSTEM;
    if (!strchr(base, '.')) return n ? CM_NAME_PLAIN : CM_NAME_OTHER;
    for (size_t i = 0; i < sizeof read / sizeof *read; i++)
        if (ends(base, n, read[i])) return CM_NAME_PICTURE;
    for (int i = 0; cmi_name_ending(i); i++)
        if (ends(base, n, cmi_name_ending(i))) *ending = i;
    return *ending < 0 ? CM_NAME_OTHER : cmi_name_ending_packed(*ending) ? CM_NAME_PACKED : CM_NAME_FORMAT;
}

/* --- paths ------------------------------------------------------------------------------- */

static int leads_up(const char *name)
{
    while (*name) {
        size_t n = strcspn(name, "/");
        if (n == 2 && memcmp(name, "..", 2) == 0) return 1;
        name += n + (name[n] == '/');
    }
    return 0;
}

cm_status cmi_name_clean(const char *container, char *name)
{
    char *to = name;
    for (char *c = name; *c; c++)
        if (*c == '\\') *c = '/';
    if (name[0] == '/' || (name[0] && name[1] == ':' && name[2] == '/'))
        CM_FAIL(CM_ERR_FORMAT, "%s: the member '%.200s' has an absolute name", container, name);
    if (leads_up(name)) CM_FAIL(CM_ERR_FORMAT, "%s: the member '%.200s' leaves the archive", container, name);
    for (const char *from = name; *from;) {
        size_t n = strcspn(from, "/");
        int more = from[n] == '/';
        if (n > 0 && !(n == 1 && from[0] == '.')) {
            memmove(to, from, n);
            to += n;
            if (more) *to++ = '/';
        }
        from += n + (size_t)more;
    }
    *to = '\0';
    return CM_OK;
}

int cmi_name_order(const char *a, const char *b)
{
    while (*a && *a == *b) a++, b++;
    /* The end of a part comes before whatever continues it. */
    int x = *a == '/' ? 1 : (unsigned char)*a + (*a != '\0'), y = *b == '/' ? 1 : (unsigned char)*b + (*b != '\0');
    return x < y ? -1 : x > y;
}
