/* training.c - which of the training goldens a file is. */
#include <string.h>

#include "training_toy.h"

int golden_training(golden_file *f, golden_result *r)
{
    static const struct {
        const char *prefix;
        void (*run)(golden_file *, golden_result *);
    } kinds[] = {{"loss_edm", run_loss_edm},
                 {"loss_", run_loss},
                 {"train_", run_train},
                 {"optim", run_optim},
                 {"ema_misc", run_ema_misc},
                 {"scale_ema", run_scales},
                 {"continuous_time", run_continuous},
                 {"trigflow_scm", run_trigflow},
                 {"scm_more", run_scm_more},
                 {"meanflow", run_meanflow},
                 {"soflow", run_soflow},
                 {"bilinear", run_bilinear},
                 {"ect", run_ect},
                 {"ict", run_ict},
                 {"cmt", run_cmt},
                 {"tcm", run_tcm}};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (strncmp(f->name, kinds[i].prefix, strlen(kinds[i].prefix)) == 0) {
            kinds[i].run(f, r);
            return 1;
        }
    return 0;
}
