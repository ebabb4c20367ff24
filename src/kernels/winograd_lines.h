/* winograd_lines.h - one-dimensional transforms of kernels longer than three: F(4,7) with the points 0, +-P, +-Q,
 * +-R, +-S and infinity, of whose sets these have the least errors, and F(2,5) with those of F(4,3), whose transform
 * of the input serves here too.  Included by winograd_transforms.h, whose head has the equations. */
#ifndef CM_KERNELS_WINOGRAD_LINES_H
#define CM_KERNELS_WINOGRAD_LINES_H

#define P (3.0f / 8)
#define Q (3.0f / 4)
#define R (5.0f / 4)
#define S (5.0f / 2)
#define P2 (P * P)
#define Q2 (Q * Q)
#define R2 (R * R)
#define S2 (S * S)

/* v[0] + v[1] and v[0] - v[1] of M(x) / (x - p) at a pair of points +-p, with the squares of the others. */
static inline __attribute__((always_inline)) void input_pair(const vec *d, float p, float a, float b, float c, vec *v)
{
    const float one = a + b + c, two = a * b + a * c + b * c, three = a * b * c;
    const vec e = (d[8] - one * d[6]) + (two * d[4] - three * d[2]);
    const vec o = p * ((d[7] - one * d[5]) + (two * d[3] - three * d[1]));
    v[0] = e + o;
    v[1] = e - o;
}

static inline __attribute__((always_inline)) void input10(const vec *d, vec *v)
{
    const float one = P2 + Q2 + R2 + S2, two = P2 * (Q2 + R2 + S2) + Q2 * (R2 + S2) + R2 * S2,
                three = P2 * Q2 * (R2 + S2) + (P2 + Q2) * R2 * S2, four = P2 * Q2 * R2 * S2;
    v[0] = (d[8] - one * d[6]) + (two * d[4] - three * d[2]) + four * d[0];
    input_pair(d, P, Q2, R2, S2, v + 1);
    input_pair(d, Q, P2, R2, S2, v + 3);
    input_pair(d, R, P2, Q2, S2, v + 5);
    input_pair(d, S, P2, Q2, R2, v + 7);
    v[9] = (d[9] - one * d[7]) + (two * d[5] - three * d[3]) + four * d[1];
}

static inline __attribute__((always_inline)) void weights_pair(const vec *g, float p, float a, float b, float c,
                                                               vec *u)
{
    const float p2 = p * p, n = 1 / (2 * p2 * (p2 - a) * (p2 - b) * (p2 - c));
    const vec e = g[0] + p2 * (g[2] + p2 * (g[4] + p2 * g[6])), o = p * (g[1] + p2 * (g[3] + p2 * g[5]));
    u[0] = n * (e + o);
    u[1] = n * (e - o);
}

static inline __attribute__((always_inline)) void weights10(const vec *g, vec *u)
{
    u[0] = (1 / (P2 * Q2 * R2 * S2)) * g[0];
    weights_pair(g, P, Q2, R2, S2, u + 1);
    weights_pair(g, Q, P2, R2, S2, u + 3);
    weights_pair(g, R, P2, Q2, S2, u + 5);
    weights_pair(g, S, P2, Q2, R2, u + 7);
    u[9] = g[6];
}

static inline __attribute__((always_inline)) void output10(const vec *m, vec *y)
{
    const vec ep = m[1] + m[2], op = P * (m[1] - m[2]), eq = m[3] + m[4], oq = Q * (m[3] - m[4]);
    const vec er = m[5] + m[6], rr = R * (m[5] - m[6]), es = m[7] + m[8], os = S * (m[7] - m[8]);
    y[0] = (m[0] + ep) + (eq + er) + es;
    y[1] = (op + oq) + (rr + os);
    y[2] = (P2 * ep + Q2 * eq) + (R2 * er + S2 * es);
    y[3] = (P2 * op + Q2 * oq) + (R2 * rr + S2 * os) + m[9];
}

static inline __attribute__((always_inline)) void weights6_of_5(const vec *g, size_t s, vec *u, size_t q)
{
    const float n0 = 1 / (A2 * B2), na = 1 / (2 * A2 * (A2 - B2)), nb = 1 / (2 * B2 * (B2 - A2));
    const vec ea = g[0] + A2 * (g[2 * s] + A2 * g[4 * s]), oa = A * (g[s] + A2 * g[3 * s]);
    const vec eb = g[0] + B2 * (g[2 * s] + B2 * g[4 * s]), ob = B * (g[s] + B2 * g[3 * s]);
    u[0] = n0 * g[0];
    u[q] = na * (ea + oa);
    u[2 * q] = na * (ea - oa);
    u[3 * q] = nb * (eb + ob);
    u[4 * q] = nb * (eb - ob);
    u[5 * q] = g[4 * s];
}

static inline __attribute__((always_inline)) void output6_of_2(const vec *m, size_t s, vec *y, size_t q)
{
    y[0] = m[0] + (m[s] + m[2 * s]) + (m[3 * s] + m[4 * s]);
    y[q] = A * (m[s] - m[2 * s]) + B * (m[3 * s] - m[4 * s]) + m[5 * s];
}

#endif
