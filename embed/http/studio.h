/* studio.h - jobs for one model: a thread does them one after the other, others ask, look and cancel.
 *
 * Every call but studio_close may come from any thread. */
#ifndef STUDIO_H
#define STUDIO_H

#include <stddef.h>
#include <stdint.h>

#include <consistency.h>

/* What one request may cost, and how many may be there at a time. */
enum { MOST_PICTURES = 64, MOST_STEPS = 64, MOST_WAITING = 4, MOST_KEPT = 32 };

typedef struct studio studio;

typedef struct job_request {
    int32_t label, steps; /* label -1: any */
    size_t count;
    uint64_t seed;
    /* NULL: draw.  Else height x width x channels bytes of a picture and height x width of a mask, 255 = make anew.
     */
    const uint8_t *given;
} job_request;

typedef enum job_phase { JOB_UNKNOWN, JOB_WAITING, JOB_RUNNING, JOB_DONE, JOB_CANCELLED, JOB_FAILED } job_phase;

typedef struct job_state {
    job_phase phase;
    uint64_t done, total; /* network evaluations */
    size_t count;
    double seconds;
    char message[256]; /* of a job that failed */
} job_state;

/* NULL after a failure, which is in cm_last_message(). */
studio *studio_open(const char *model);
/* Cancels what runs and frees everything. */
void studio_close(studio *s);
const cm_model_info *studio_info(const studio *s);

/* The number of a new job, 0 where MOST_WAITING wait already or memory is short.  `given` is copied.  Of the jobs
 * that have ended the last ones are kept, MOST_KEPT with those that have not. */
uint64_t studio_ask(studio *s, const job_request *request);
job_state studio_look(studio *s, uint64_t id);
/* A copy of the pictures, count x height x width x channels, or of a page of them as a PNG, from malloc; NULL where
 * there are none. */
uint8_t *studio_pictures(studio *s, uint64_t id, size_t *size);
uint8_t *studio_page(studio *s, uint64_t id, size_t *size);
/* 0 where there is no such job; one that has ended stays as it is. */
int studio_cancel(studio *s, uint64_t id);

#endif
