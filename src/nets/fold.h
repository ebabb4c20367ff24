/* fold.h - attention of one head with half of its maps.
 *
 * With x the normalised input, q = Wq x + bq, k = Wk x + bk, v = Wv x + bv and the map
 * behind, Wp (sum_t p_t v_t) + bp:
 *
 *   q . k_t = (Wk^T Wq x + Wk^T bq) . x_t + q . bk,
 *
 * where softmax over t does not see the last term; and, since the p_t add up to one,
 *
 *   Wp (sum_t p_t v_t) + bp = (Wp Wv) (sum_t p_t x_t) + Wp bv + bp.
 *
 * So with two matrices made once x itself serves as keys and values, and two of four maps of C by
 * C go.  Of h heads the first matrix would be h times as tall: nothing is gained.
 *
 * In training the matrices are made once a step, and from the gradients of A = Wk^T Wq, u = Wk^T bq,
 * B = Wp Wv and w = Wp bv + bp follow those of the maps:
 *
 *   dWq = Wk dA,   dWk = Wq dA^T + bq du^T,   dbq = Wk du,   dbk = 0,
 *   dWp = dB Wv^T + dw bv^T,   dWv = Wp^T dB,   dbv = Wp^T dw,   dbp = dw. */
#ifndef CM_NETS_FOLD_H
#define CM_NETS_FOLD_H

#include "graph/params.h"

/* What a folded parameter is. */
enum {
    CM_FOLD_NONE,
    CM_FOLD_QUERY_WEIGHT, /* Wk^T Wq                    */
    CM_FOLD_QUERY_BIAS,   /* Wk^T bq                    */
    CM_FOLD_VALUE_WEIGHT, /* Wp Wv                      */
    CM_FOLD_VALUE_BIAS,   /* Wp bv + bp                 */
    CM_FOLD_UNIT_ROWS     /* rows of one length (unit_rows.h): of a weight and, where `layout` is 1, a gain */
};

/* The parameters qkv [3C, C], [3C], in the order of `layout` (CM_QKV_*), and proj [C, C], [C]. */
typedef struct cm_attention_maps {
    int32_t c;
    int layout, qkv_weight, qkv_bias, weight, bias;
} cm_attention_maps;

/* Adds the parameter NAME of one kind to the graph. */
int cmi_fold(cm_graph *graph, const char *name, const cm_attention_maps *maps, int kind);
/* Folded parameters behind the others, whose numbers are then those of the graph as the file has it. */
void cmi_fold_last(cm_graph *graph);

/* Their sources, behind `count` of the file's: the sums are made when somebody asks.  `sources`
 * has to stay where it is as long as they are read; NULL when memory is out. */
typedef struct cm_folded cm_folded;
cm_folded *cmi_fold_bind(const cm_graph *graph, int count, cm_param_source *sources);

/* For training: folded values, and the gradients of what they are made of, in blocks of all parameters
 * (cmi_param_offsets).  Pieces, a weight and, where there is one, its bias, may be done at a time, with scratch
 * memory of their own. */
int cmi_fold_pieces(const cm_graph *graph);
size_t cmi_fold_scratch_bytes(const cm_graph *graph);
cm_status cmi_fold_values(const cm_graph *graph, const size_t *offsets, int piece, float *values, void *scratch);
cm_status cmi_fold_gradients(const cm_graph *graph, const size_t *offsets, int piece, const float *values,
                             float *gradient, void *scratch);
/* Forced normalisation of what a piece is made of, where its rows have one length (unit_rows.h): in place. */
void cmi_fold_force(const cm_graph *graph, const size_t *offsets, int piece, float *values);

#endif
