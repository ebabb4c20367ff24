/* server.c - a web page that draws with a consistency model, by libmicrohttpd.
 *
 *     server MODEL.safetensors [PORT]
 *
 * It listens on 127.0.0.1 alone (port 8080; 0 = a free one, which it prints) and ends with SIGINT or SIGTERM.
 *
 *     GET    /, /page.js, /page.css, /studio.js   the page
 *     GET    /model                               {"channels": .., "height": .., "width": .., "classes": ..}
 *     POST   /jobs?steps=&count=&label=&seed=     202 {"job": ID}; a body of height x width x channels bytes of a
 *                                                 picture and height x width of a mask fills in, none draws
 *     GET    /jobs/ID                             {"state": .., "done": .., "total": .., "seconds": ..}
 *     GET    /jobs/ID/pictures                    bytes, count x height x width x channels
 *     GET    /jobs/ID/page.png                    all pictures on a page
 *     DELETE /jobs/ID                             cancels it
 *
 * What does not fit is refused: 400 a wrong argument or size of body, 403 a request that another site's page makes,
 * 404, 405, 413 a body that is too large, 503 where too many jobs wait.  Of each refusal the body says why. */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <arpa/inet.h>
#include <netinet/in.h>

#include <microhttpd.h>

#include "studio.h"

/* The files of the page as they are, between NAME and NAME_end. */
#define FILE_BYTES(name, path)                                                                                       \
    __asm__(".section .rodata\n.global " #name "\n.global " #name "_end\n" #name ":\n.incbin \"" path "\"\n" #name   \
            "_end:\n.previous\n");                                                                                   \
    extern const char name[], name##_end[]
FILE_BYTES(page_html, "../page/index.html");
FILE_BYTES(page_js, "../page/page.js");
FILE_BYTES(page_css, "../page/page.css");
FILE_BYTES(studio_js, "studio.js");

static const struct {
    const char *url, *type, *first, *end;
} files[] = {
    {"/", "text/html; charset=utf-8", page_html, page_html_end},
    {"/page.js", "text/javascript; charset=utf-8", page_js, page_js_end},
    {"/page.css", "text/css; charset=utf-8", page_css, page_css_end},
    {"/studio.js", "text/javascript; charset=utf-8", studio_js, studio_js_end},
};

typedef struct server {
    studio *studio;
    unsigned port;
} server;

/* What has come of a request's body. */
typedef struct upload {
    size_t size, limit;
    uint8_t bytes[];
} upload;

/* --- replies ----------------------------------------------------------------------------------- */

static enum MHD_Result send_response(struct MHD_Connection *connection, unsigned status, const char *type,
                                     struct MHD_Response *response)
{
    if (!response) return MHD_NO;
    (void)MHD_add_response_header(response, "Content-Type", type);
    (void)MHD_add_response_header(response, "Cache-Control", "no-store");
    (void)MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
    (void)MHD_add_response_header(response, "Content-Security-Policy",
                                  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
                                  "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'");
    if (status == MHD_HTTP_SERVICE_UNAVAILABLE) (void)MHD_add_response_header(response, "Retry-After", "1");
    enum MHD_Result result = MHD_queue_response(connection, status, response);
    MHD_destroy_response(response);
    return result;
}

static struct MHD_Response *copy_of(const char *text)
{
    return MHD_create_response_from_buffer(strlen(text), (void *)(uintptr_t)text, MHD_RESPMEM_MUST_COPY);
}

static enum MHD_Result send_json(struct MHD_Connection *connection, unsigned status, const char *text)
{
    return send_response(connection, status, "application/json", copy_of(text));
}

/* The path is there, but not for this method. */
static enum MHD_Result refuse_method(struct MHD_Connection *connection, const char *allowed)
{
    struct MHD_Response *response = copy_of("{\"error\": \"another method is wanted\"}");
    if (response) (void)MHD_add_response_header(response, "Allow", allowed);
    return send_response(connection, MHD_HTTP_METHOD_NOT_ALLOWED, "application/json", response);
}

/* {"error": message}; what JSON does not take as it stands becomes '?'. */
static enum MHD_Result refuse(struct MHD_Connection *connection, unsigned status, const char *message)
{
    char text[512] = "{\"error\": \"";
    size_t n = strlen(text);
    for (; *message && n < sizeof text - 4; message++)
        text[n++] = *message == '"' ? '\'' : (unsigned char)*message < 32 || *message == '\\' ? '?' : *message;
    memcpy(text + n, "\"}", 3);
    return send_json(connection, status, text);
}

static enum MHD_Result send_bytes(struct MHD_Connection *connection, const char *type, uint8_t *bytes, size_t size)
{
    if (!bytes) return refuse(connection, MHD_HTTP_NOT_FOUND, "there are no pictures: the job is not done");
    return send_response(connection, MHD_HTTP_OK, type,
                         MHD_create_response_from_buffer(size, bytes, MHD_RESPMEM_MUST_FREE));
}

/* --- arguments ----------------------------------------------------------------------------------- */

/* A whole number, `missing` where there is none; 0 where it is something else or out of its range. */
static int read_number(struct MHD_Connection *connection, const char *name, int64_t low, int64_t high,
                       int64_t missing, int64_t *out)
{
    const char *text = NULL;
    size_t length = 0; /* a NUL may stand among the bytes */
    char *end;
    *out = missing;
    if (MHD_lookup_connection_value_n(connection, MHD_GET_ARGUMENT_KIND, name, strlen(name), &text, &length) !=
        MHD_YES)
        return 1;
    if (!text || length < 1 || length > 20 || strspn(text, "-0123456789") != length) return 0;
    errno = 0;
    *out = strtoll(text, &end, 10);
    return errno == 0 && !*end && *out >= low && *out <= high;
}

static enum MHD_Result ask(server *s, struct MHD_Connection *connection, const upload *body)
{
    const cm_model_info *m = studio_info(s->studio);
    int64_t label, steps, count, seed;
    char text[160];
    if (!read_number(connection, "label", -1, m->num_classes - 1, -1, &label) ||
        !read_number(connection, "steps", 1, MOST_STEPS, 1, &steps) ||
        !read_number(connection, "count", 1, MOST_PICTURES, 1, &count) ||
        !read_number(connection, "seed", 0, INT64_MAX, 0, &seed)) {
        (void)snprintf(text, sizeof text, "label is -1..%d, steps 1..%d, count 1..%d, seed from 0 on",
                       m->num_classes - 1, MOST_STEPS, MOST_PICTURES);
        return refuse(connection, MHD_HTTP_BAD_REQUEST, text);
    }
    if (body->size && body->size != body->limit) {
        (void)snprintf(text, sizeof text, "the body has %zu bytes; a picture and its mask have %zu", body->size,
                       body->limit);
        return refuse(connection, MHD_HTTP_BAD_REQUEST, text);
    }
    if (body->size && label < 0 && m->num_classes > 0)
        return refuse(connection, MHD_HTTP_BAD_REQUEST, "filling in needs a label");
    const job_request request = {(int32_t)label, (int32_t)steps, (size_t)count, (uint64_t)seed,
                                 body->size ? body->bytes : NULL};
    const uint64_t id = studio_ask(s->studio, &request);
    if (!id) return refuse(connection, MHD_HTTP_SERVICE_UNAVAILABLE, "too many jobs wait: try again later");
    (void)snprintf(text, sizeof text, "{\"job\": \"%016" PRIx64 "\"}", id);
    return send_json(connection, MHD_HTTP_ACCEPTED, text);
}

static enum MHD_Result tell_model(const server *s, struct MHD_Connection *connection)
{
    const cm_model_info *m = studio_info(s->studio);
    char text[160];
    (void)snprintf(text, sizeof text, "{\"channels\": %d, \"height\": %d, \"width\": %d, \"classes\": %d}",
                   m->channels, m->height, m->width, m->num_classes);
    return send_json(connection, MHD_HTTP_OK, text);
}

static enum MHD_Result tell_job(const server *s, struct MHD_Connection *connection, uint64_t id)
{
    static const char *const phases[] = {"unknown", "waiting", "running", "done", "cancelled", "failed"};
    const job_state j = studio_look(s->studio, id);
    char text[256];
    if (j.phase == JOB_UNKNOWN) return refuse(connection, MHD_HTTP_NOT_FOUND, "there is no such job");
    if (j.phase == JOB_FAILED) return refuse(connection, MHD_HTTP_INTERNAL_SERVER_ERROR, j.message);
    (void)snprintf(text, sizeof text,
                   "{\"state\": \"%s\", \"done\": %" PRIu64 ", \"total\": %" PRIu64
                   ", \"count\": %zu, \"seconds\": %.4f}",
                   phases[j.phase], j.done, j.total, j.count, j.seconds);
    return send_json(connection, MHD_HTTP_OK, text);
}

/* /jobs/ID with sixteen digits, and what stands behind it; NULL: another path. */
static const char *read_job(const char *url, uint64_t *id)
{
    char digits[17] = "";
    if (strncmp(url, "/jobs/", 6) != 0 || strspn(url + 6, "0123456789abcdef") != 16) return NULL;
    memcpy(digits, url + 6, 16);
    *id = strtoull(digits, NULL, 16);
    return url + 22;
}

static enum MHD_Result answer_job(server *s, struct MHD_Connection *connection, const char *method, uint64_t id,
                                  const char *rest)
{
    size_t size = 0;
    if (strcmp(method, "DELETE") == 0 && !*rest) {
        if (!studio_cancel(s->studio, id)) return refuse(connection, MHD_HTTP_NOT_FOUND, "there is no such job");
        return send_json(connection, MHD_HTTP_OK, "{}");
    }
    if (strcmp(method, "GET") != 0) return refuse_method(connection, "GET, HEAD, DELETE");
    if (!*rest) return tell_job(s, connection, id);
    if (strcmp(rest, "/pictures") == 0) {
        uint8_t *bytes = studio_pictures(s->studio, id, &size);
        return send_bytes(connection, "application/octet-stream", bytes, size);
    }
    if (strcmp(rest, "/page.png") == 0) {
        uint8_t *bytes = studio_page(s->studio, id, &size);
        return send_bytes(connection, "image/png", bytes, size);
    }
    return refuse(connection, MHD_HTTP_NOT_FOUND, "there is no such page");
}

static enum MHD_Result answer(server *s, struct MHD_Connection *connection, const char *url, const char *method,
                              const upload *body)
{
    uint64_t id = 0;
    const char *rest = read_job(url, &id);
    if (rest) return answer_job(s, connection, method, id, rest);
    if (strcmp(url, "/jobs") == 0)
        return strcmp(method, "POST") == 0 ? ask(s, connection, body) : refuse_method(connection, "POST");
    if (strcmp(url, "/model") == 0)
        return strcmp(method, "GET") == 0 ? tell_model(s, connection) : refuse_method(connection, "GET, HEAD");
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        if (strcmp(url, files[i].url) != 0) continue;
        if (strcmp(method, "GET") != 0) return refuse_method(connection, "GET, HEAD");
        return send_response(connection, MHD_HTTP_OK, files[i].type,
                             MHD_create_response_from_buffer((size_t)(files[i].end - files[i].first),
                                                             (void *)(uintptr_t)files[i].first,
                                                             MHD_RESPMEM_PERSISTENT));
    }
    return refuse(connection, MHD_HTTP_NOT_FOUND, "there is no such page");
}

/* --- requests ------------------------------------------------------------------------------------ */

/* Whether the request was made under the server's own name, and by no page of another site.  Any site that a browser
 * shows can make it send requests to this machine, also under a name of its own that leads here. */
static int is_own(const server *s, struct MHD_Connection *connection)
{
    const char *host = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Host");
    const char *origin = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Origin");
    const char *const names[] = {"127.0.0.1", "localhost"};
    for (size_t i = 0; host && i < 2; i++) {
        char own[64];
        (void)snprintf(own, sizeof own, "http://%s:%u", names[i], s->port);
        if (strcmp(host, own + 7) == 0) return !origin || strcmp(origin, own) == 0;
    }
    return 0;
}

/* The first call for a request, when its head has come: makes room for the body, or refuses. */
static enum MHD_Result begin(server *s, struct MHD_Connection *connection, void **state)
{
    const cm_model_info *m = studio_info(s->studio);
    const size_t limit = (size_t)m->height * (size_t)m->width * ((size_t)m->channels + 1);
    const char *length = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Content-Length");
    if (!is_own(s, connection)) return refuse(connection, MHD_HTTP_FORBIDDEN, "this is for the server's own page");
    if (length && (strlen(length) > 18 || strtoull(length, NULL, 10) > limit))
        return refuse(connection, MHD_HTTP_CONTENT_TOO_LARGE, "the body is larger than a picture and its mask");
    upload *body = malloc(sizeof *body + limit);
    if (!body) return MHD_NO;
    body->size = 0;
    body->limit = limit;
    *state = body;
    return MHD_YES;
}

static enum MHD_Result handle(void *user, struct MHD_Connection *connection, const char *url, const char *method,
                              const char *version, const char *data, size_t *size, void **state)
{
    server *s = user;
    upload *body = *state;
    (void)version;
    if (!body) return begin(s, connection, state);
    if (!*size) /* of an answer to HEAD the library sends the head alone */
        return answer(s, connection, url, strcmp(method, "HEAD") == 0 ? "GET" : method, body);
    if (*size > body->limit - body->size) return MHD_NO; /* of unknown length: the connection ends */
    memcpy(body->bytes + body->size, data, *size);
    body->size += *size;
    *size = 0;
    return MHD_YES;
}

static void finish(void *user, struct MHD_Connection *connection, void **state, enum MHD_RequestTerminationCode how)
{
    (void)user, (void)connection, (void)how;
    free(*state);
    *state = NULL;
}

static int serve(server *s)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)s->port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    struct MHD_Daemon *daemon = MHD_start_daemon(
        MHD_USE_INTERNAL_POLLING_THREAD, (uint16_t)s->port, NULL, NULL, handle, s, MHD_OPTION_SOCK_ADDR, &address,
        MHD_OPTION_NOTIFY_COMPLETED, finish, NULL, MHD_OPTION_CONNECTION_LIMIT, 64u, MHD_OPTION_CONNECTION_TIMEOUT,
        15u, MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)32768, MHD_OPTION_END);
    if (!daemon) {
        fprintf(stderr, "server: cannot listen on port %u: %s\n", s->port, strerror(errno));
        return EXIT_FAILURE;
    }
    const union MHD_DaemonInfo *bound = MHD_get_daemon_info(daemon, MHD_DAEMON_INFO_BIND_PORT);
    if (bound) s->port = bound->port;
    printf("http://127.0.0.1:%u/\n", s->port);
    (void)fflush(stdout);
    sigset_t ends;
    int signal;
    (void)sigemptyset(&ends);
    (void)sigaddset(&ends, SIGINT);
    (void)sigaddset(&ends, SIGTERM);
    (void)sigwait(&ends, &signal);
    MHD_stop_daemon(daemon);
    return EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
    char *end = "";
    const unsigned long port = argc == 3 ? strtoul(argv[2], &end, 10) : 8080;
    if (argc < 2 || argc > 3 || *end || end == argv[2] || port > 65535) {
        fprintf(stderr, "usage: server MODEL.safetensors [PORT]\n");
        return 2;
    }
    sigset_t ends; /* blocked before there are threads, so that sigwait alone gets them */
    (void)sigemptyset(&ends);
    (void)sigaddset(&ends, SIGINT);
    (void)sigaddset(&ends, SIGTERM);
    (void)pthread_sigmask(SIG_BLOCK, &ends, NULL);
    server s = {studio_open(argv[1]), (unsigned)port};
    if (!s.studio) {
        fprintf(stderr, "server: %s\n", cm_last_message());
        return EXIT_FAILURE;
    }
    const int result = serve(&s);
    studio_close(s.studio);
    return result;
}
