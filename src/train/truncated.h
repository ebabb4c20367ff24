/* truncated.h - numbers of truncated distributions, in double: a uniform number becomes one of the normal or of
 * Student's distribution between two bounds. */
#ifndef CM_TRAIN_TRUNCATED_H
#define CM_TRAIN_TRUNCATED_H

/* m + s X, X between (low - m)/s and (high - m)/s, at the share u in [0, 1] of the probability there; s > 0,
 * low < high.  nu: degrees of freedom of Student's distribution, above 0; INFINITY: the normal one. */
typedef struct cm_truncated {
    double m, s, nu, low, high;
} cm_truncated;
double cmi_truncated_at(const cm_truncated *d, double u);

/* P(X < x), of nu degrees of freedom as above. */
double cmi_student_below(double nu, double x);

#endif
