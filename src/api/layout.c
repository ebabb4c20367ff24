/* layout.c - sizes and places in the public structs, which programs are compiled with.
 *
 * Printed by `python3 tests/headers.py --layout > src/api/layout.c`.  Members are only ever appended: within one
 * major version no line changes but sizes, and those grow. */
#include <consistency.h>

#include <stddef.h>

#if UINTPTR_MAX > 0xffffffffu
#define SIZE(type, bytes)                                                                                            \
    _Static_assert(sizeof(type) == (bytes), #type " has another size: see the head of this file")
#define PLACE(type, member, offset)                                                                                  \
    _Static_assert(offsetof(type, member) == (offset), #type "." #member " stands elsewhere: see the head")

SIZE(cm_average_options, 40);
PLACE(cm_average_options, struct_size, 0);
PLACE(cm_average_options, reserved, 4);
PLACE(cm_average_options, std, 8);
PLACE(cm_average_options, images, 16);
PLACE(cm_average_options, progress, 24);
PLACE(cm_average_options, progress_user, 32);

SIZE(cm_checkpoint_check_options, 40);
PLACE(cm_checkpoint_check_options, struct_size, 0);
PLACE(cm_checkpoint_check_options, reserved, 4);
PLACE(cm_checkpoint_check_options, progress, 8);
PLACE(cm_checkpoint_check_options, progress_user, 16);
PLACE(cm_checkpoint_check_options, found, 24);
PLACE(cm_checkpoint_check_options, found_user, 32);

SIZE(cm_checkpoint_info, 104);
PLACE(cm_checkpoint_info, struct_size, 0);
PLACE(cm_checkpoint_info, kind, 4);
PLACE(cm_checkpoint_info, bytes, 8);
PLACE(cm_checkpoint_info, tensors, 16);
PLACE(cm_checkpoint_info, values, 24);
PLACE(cm_checkpoint_info, tensor_bytes, 32);
PLACE(cm_checkpoint_info, sets, 40);
PLACE(cm_checkpoint_info, notes, 48);
PLACE(cm_checkpoint_info, format, 56);
PLACE(cm_checkpoint_info, about, 64);
PLACE(cm_checkpoint_info, weights, 72);
PLACE(cm_checkpoint_info, network, 80);
PLACE(cm_checkpoint_info, precond, 88);
PLACE(cm_checkpoint_info, problem, 96);

SIZE(cm_checkpoint_options, 24);
PLACE(cm_checkpoint_options, struct_size, 0);
PLACE(cm_checkpoint_options, reserved, 4);
PLACE(cm_checkpoint_options, weights, 8);
PLACE(cm_checkpoint_options, config_json, 16);

SIZE(cm_checkpoint_report, 64);
PLACE(cm_checkpoint_report, struct_size, 0);
PLACE(cm_checkpoint_report, is_sound, 4);
PLACE(cm_checkpoint_report, bytes, 8);
PLACE(cm_checkpoint_report, checksums, 16);
PLACE(cm_checkpoint_report, without_checksum, 24);
PLACE(cm_checkpoint_report, nan_values, 32);
PLACE(cm_checkpoint_report, infinite_values, 40);
PLACE(cm_checkpoint_report, nonfinite_tensors, 48);
PLACE(cm_checkpoint_report, findings, 56);

SIZE(cm_condition, 24);
PLACE(cm_condition, struct_size, 0);
PLACE(cm_condition, reserved, 4);
PLACE(cm_condition, labels, 8);
PLACE(cm_condition, guidance, 16);

SIZE(cm_context_options, 64);
PLACE(cm_context_options, struct_size, 0);
PLACE(cm_context_options, threads, 4);
PLACE(cm_context_options, alloc, 8);
PLACE(cm_context_options, free, 16);
PLACE(cm_context_options, memory_user, 24);
PLACE(cm_context_options, log, 32);
PLACE(cm_context_options, log_user, 40);
PLACE(cm_context_options, parallel_for, 48);
PLACE(cm_context_options, parallel_user, 56);

SIZE(cm_dataset_check_options, 40);
PLACE(cm_dataset_check_options, struct_size, 0);
PLACE(cm_dataset_check_options, class_least, 4);
PLACE(cm_dataset_check_options, progress, 8);
PLACE(cm_dataset_check_options, progress_user, 16);
PLACE(cm_dataset_check_options, found, 24);
PLACE(cm_dataset_check_options, found_user, 32);

SIZE(cm_dataset_info, 64);
PLACE(cm_dataset_info, struct_size, 0);
PLACE(cm_dataset_info, channels, 4);
PLACE(cm_dataset_info, height, 8);
PLACE(cm_dataset_info, width, 12);
PLACE(cm_dataset_info, images, 16);
PLACE(cm_dataset_info, classes, 24);
PLACE(cm_dataset_info, largest_label, 28);
PLACE(cm_dataset_info, bad, 32);
PLACE(cm_dataset_info, fingerprint, 40);
PLACE(cm_dataset_info, kind, 48);
PLACE(cm_dataset_info, classes_from, 56);

SIZE(cm_dataset_options, 64);
PLACE(cm_dataset_options, struct_size, 0);
PLACE(cm_dataset_options, channels, 4);
PLACE(cm_dataset_options, height, 8);
PLACE(cm_dataset_options, width, 12);
PLACE(cm_dataset_options, random_crop, 16);
PLACE(cm_dataset_options, labels, 20);
PLACE(cm_dataset_options, stop_on_bad, 24);
PLACE(cm_dataset_options, shuffle, 28);
PLACE(cm_dataset_options, seed, 32);
PLACE(cm_dataset_options, held_out, 40);
PLACE(cm_dataset_options, part, 48);
PLACE(cm_dataset_options, reserved, 52);
PLACE(cm_dataset_options, class_names, 56);

SIZE(cm_dataset_pack_options, 32);
PLACE(cm_dataset_pack_options, struct_size, 0);
PLACE(cm_dataset_pack_options, form, 4);
PLACE(cm_dataset_pack_options, overwrite, 8);
PLACE(cm_dataset_pack_options, reserved, 12);
PLACE(cm_dataset_pack_options, progress, 16);
PLACE(cm_dataset_pack_options, progress_user, 24);

SIZE(cm_dataset_report, 88);
PLACE(cm_dataset_report, struct_size, 0);
PLACE(cm_dataset_report, is_sound, 4);
PLACE(cm_dataset_report, images, 8);
PLACE(cm_dataset_report, damaged, 16);
PLACE(cm_dataset_report, left_out, 24);
PLACE(cm_dataset_report, duplicates, 32);
PLACE(cm_dataset_report, contradictions, 40);
PLACE(cm_dataset_report, enlarged, 48);
PLACE(cm_dataset_report, gray, 56);
PLACE(cm_dataset_report, findings, 64);
PLACE(cm_dataset_report, least_height, 72);
PLACE(cm_dataset_report, least_width, 76);
PLACE(cm_dataset_report, most_height, 80);
PLACE(cm_dataset_report, most_width, 84);

SIZE(cm_denoise_options, 48);
PLACE(cm_denoise_options, struct_size, 0);
PLACE(cm_denoise_options, reserved, 4);
PLACE(cm_denoise_options, condition, 8);
PLACE(cm_denoise_options, progress, 16);
PLACE(cm_denoise_options, progress_user, 24);
PLACE(cm_denoise_options, second, 32);
PLACE(cm_denoise_options, second_tangent, 40);

SIZE(cm_edit_map, 40);
PLACE(cm_edit_map, struct_size, 0);
PLACE(cm_edit_map, patch, 4);
PLACE(cm_edit_map, matrix, 8);
PLACE(cm_edit_map, forward, 16);
PLACE(cm_edit_map, inverse, 24);
PLACE(cm_edit_map, user, 32);

SIZE(cm_edit_options, 72);
PLACE(cm_edit_options, struct_size, 0);
PLACE(cm_edit_options, variations, 4);
PLACE(cm_edit_options, start, 8);
PLACE(cm_edit_options, cut, 12);
PLACE(cm_edit_options, sigma, 16);
PLACE(cm_edit_options, fill, 24);
PLACE(cm_edit_options, luma, 32);
PLACE(cm_edit_options, to, 56);
PLACE(cm_edit_options, sampling, 64);

SIZE(cm_feature_rows, 64);
PLACE(cm_feature_rows, struct_size, 0);
PLACE(cm_feature_rows, reserved, 4);
PLACE(cm_feature_rows, values, 8);
PLACE(cm_feature_rows, logits, 16);
PLACE(cm_feature_rows, scores, 24);
PLACE(cm_feature_rows, spatial, 32);
PLACE(cm_feature_rows, early, 40);

SIZE(cm_features_info, 64);
PLACE(cm_features_info, struct_size, 0);
PLACE(cm_features_info, channels, 4);
PLACE(cm_features_info, height, 8);
PLACE(cm_features_info, width, 12);
PLACE(cm_features_info, padded, 16);
PLACE(cm_features_info, features, 20);
PLACE(cm_features_info, classes, 24);
PLACE(cm_features_info, resizes, 28);
PLACE(cm_features_info, network, 32);
PLACE(cm_features_info, weights, 40);
PLACE(cm_features_info, spatial, 48);
PLACE(cm_features_info, early, 52);

SIZE(cm_group, 80);
PLACE(cm_group, struct_size, 0);
PLACE(cm_group, rank, 4);
PLACE(cm_group, size, 8);
PLACE(cm_group, reserved, 12);
PLACE(cm_group, user, 16);
PLACE(cm_group, engine, 24);
PLACE(cm_group, sum, 32);
PLACE(cm_group, wait, 40);
PLACE(cm_group, broadcast, 48);
PLACE(cm_group, gather, 56);
PLACE(cm_group, give_up, 64);
PLACE(cm_group, message, 72);

SIZE(cm_image_read_options, 12);
PLACE(cm_image_read_options, struct_size, 0);
PLACE(cm_image_read_options, channels, 4);
PLACE(cm_image_read_options, dtype, 8);

SIZE(cm_image_write_options, 24);
PLACE(cm_image_write_options, struct_size, 0);
PLACE(cm_image_write_options, format, 4);
PLACE(cm_image_write_options, quality, 8);
PLACE(cm_image_write_options, overwrite, 12);
PLACE(cm_image_write_options, note, 16);

SIZE(cm_images, 72);
PLACE(cm_images, struct_size, 0);
PLACE(cm_images, dtype, 4);
PLACE(cm_images, n, 8);
PLACE(cm_images, channels, 16);
PLACE(cm_images, height, 20);
PLACE(cm_images, width, 24);
PLACE(cm_images, layout, 28);
PLACE(cm_images, image_stride, 32);
PLACE(cm_images, channel_stride, 40);
PLACE(cm_images, row_stride, 48);
PLACE(cm_images, pixel_stride, 56);
PLACE(cm_images, data, 64);

SIZE(cm_likelihood_options, 96);
PLACE(cm_likelihood_options, struct_size, 0);
PLACE(cm_likelihood_options, probes, 4);
PLACE(cm_likelihood_options, rk45_rtol, 8);
PLACE(cm_likelihood_options, rk45_atol, 16);
PLACE(cm_likelihood_options, rk45_max_nfe, 24);
PLACE(cm_likelihood_options, continuous, 28);
PLACE(cm_likelihood_options, sigma_min, 32);
PLACE(cm_likelihood_options, sigma_max, 40);
PLACE(cm_likelihood_options, seed, 48);
PLACE(cm_likelihood_options, first_index, 56);
PLACE(cm_likelihood_options, condition, 64);
PLACE(cm_likelihood_options, progress, 72);
PLACE(cm_likelihood_options, progress_user, 80);
PLACE(cm_likelihood_options, evaluations, 88);

SIZE(cm_load_options, 48);
PLACE(cm_load_options, struct_size, 0);
PLACE(cm_load_options, allow_nonfinite, 4);
PLACE(cm_load_options, config_json, 8);
PLACE(cm_load_options, progress, 16);
PLACE(cm_load_options, progress_user, 24);
PLACE(cm_load_options, copy, 32);
PLACE(cm_load_options, reserved, 36);
PLACE(cm_load_options, weights, 40);

SIZE(cm_lpips_info, 24);
PLACE(cm_lpips_info, struct_size, 0);
PLACE(cm_lpips_info, layers, 4);
PLACE(cm_lpips_info, network, 8);
PLACE(cm_lpips_info, weights, 16);

SIZE(cm_lpips_options, 16);
PLACE(cm_lpips_options, struct_size, 0);
PLACE(cm_lpips_options, pooling, 4);
PLACE(cm_lpips_options, resize, 8);
PLACE(cm_lpips_options, uniform, 12);

SIZE(cm_model_info, 104);
PLACE(cm_model_info, struct_size, 0);
PLACE(cm_model_info, channels, 4);
PLACE(cm_model_info, height, 8);
PLACE(cm_model_info, width, 12);
PLACE(cm_model_info, out_channels, 16);
PLACE(cm_model_info, num_classes, 20);
PLACE(cm_model_info, needs_label, 24);
PLACE(cm_model_info, is_consistency, 28);
PLACE(cm_model_info, sigma_min, 32);
PLACE(cm_model_info, sigma_max, 40);
PLACE(cm_model_info, sigma_data, 48);
PLACE(cm_model_info, parameters, 56);
PLACE(cm_model_info, tensors, 64);
PLACE(cm_model_info, weight_bytes, 72);
PLACE(cm_model_info, network, 80);
PLACE(cm_model_info, precond, 88);
PLACE(cm_model_info, config_json, 96);

SIZE(cm_neighbour_options, 8);
PLACE(cm_neighbour_options, struct_size, 0);
PLACE(cm_neighbour_options, neighbours, 4);

SIZE(cm_option_info, 80);
PLACE(cm_option_info, struct_size, 0);
PLACE(cm_option_info, kind, 4);
PLACE(cm_option_info, name, 8);
PLACE(cm_option_info, about, 16);
PLACE(cm_option_info, choices, 24);
PLACE(cm_option_info, objectives, 32);
PLACE(cm_option_info, minimum, 40);
PLACE(cm_option_info, maximum, 48);
PLACE(cm_option_info, above_minimum, 56);
PLACE(cm_option_info, takes_auto, 60);
PLACE(cm_option_info, decides_course, 64);
PLACE(cm_option_info, reserved, 68);
PLACE(cm_option_info, automatic, 72);

SIZE(cm_reader, 32);
PLACE(cm_reader, struct_size, 0);
PLACE(cm_reader, reserved, 4);
PLACE(cm_reader, size, 8);
PLACE(cm_reader, read, 16);
PLACE(cm_reader, user, 24);

SIZE(cm_run_info, 152);
PLACE(cm_run_info, struct_size, 0);
PLACE(cm_run_info, batch, 4);
PLACE(cm_run_info, step, 8);
PLACE(cm_run_info, steps, 16);
PLACE(cm_run_info, images, 24);
PLACE(cm_run_info, bad, 32);
PLACE(cm_run_info, parameters, 40);
PLACE(cm_run_info, pages, 48);
PLACE(cm_run_info, sample_share, 56);
PLACE(cm_run_info, channels, 64);
PLACE(cm_run_info, height, 68);
PLACE(cm_run_info, width, 72);
PLACE(cm_run_info, classes, 76);
PLACE(cm_run_info, is_finished, 80);
PLACE(cm_run_info, reserved, 84);
PLACE(cm_run_info, kind, 88);
PLACE(cm_run_info, classes_from, 96);
PLACE(cm_run_info, data, 104);
PLACE(cm_run_info, metric, 112);
PLACE(cm_run_info, evaluations, 120);
PLACE(cm_run_info, metric_share, 128);
PLACE(cm_run_info, best_distance, 136);
PLACE(cm_run_info, best_step, 144);

SIZE(cm_run_needs, 88);
PLACE(cm_run_needs, struct_size, 0);
PLACE(cm_run_needs, fits, 4);
PLACE(cm_run_needs, bytes, 8);
PLACE(cm_run_needs, free_bytes, 16);
PLACE(cm_run_needs, free_of, 24);
PLACE(cm_run_needs, batch, 32);
PLACE(cm_run_needs, size, 36);
PLACE(cm_run_needs, batch_bytes, 40);
PLACE(cm_run_needs, size_bytes, 48);
PLACE(cm_run_needs, step_seconds, 56);
PLACE(cm_run_needs, seconds, 64);
PLACE(cm_run_needs, sample_share, 72);
PLACE(cm_run_needs, metric_share, 80);

SIZE(cm_run_report, 120);
PLACE(cm_run_report, struct_size, 0);
PLACE(cm_run_report, event, 4);
PLACE(cm_run_report, step, 8);
PLACE(cm_run_report, steps, 16);
PLACE(cm_run_report, images, 24);
PLACE(cm_run_report, loss, 32);
PLACE(cm_run_report, grad_norm, 40);
PLACE(cm_run_report, lr, 48);
PLACE(cm_run_report, images_per_second, 56);
PLACE(cm_run_report, seconds_left, 64);
PLACE(cm_run_report, path, 72);
PLACE(cm_run_report, training, 80);
PLACE(cm_run_report, metric, 88);
PLACE(cm_run_report, distance, 96);
PLACE(cm_run_report, best_distance, 104);
PLACE(cm_run_report, best_step, 112);

SIZE(cm_sample_options, 296);
PLACE(cm_sample_options, struct_size, 0);
PLACE(cm_sample_options, method, 4);
PLACE(cm_sample_options, sigmas, 8);
PLACE(cm_sample_options, sigma_count, 16);
PLACE(cm_sample_options, ts, 24);
PLACE(cm_sample_options, ts_count, 32);
PLACE(cm_sample_options, grid, 40);
PLACE(cm_sample_options, steps, 44);
PLACE(cm_sample_options, rho, 48);
PLACE(cm_sample_options, sigma_min, 56);
PLACE(cm_sample_options, sigma_max, 64);
PLACE(cm_sample_options, clip_denoised, 72);
PLACE(cm_sample_options, clip_output, 76);
PLACE(cm_sample_options, s_churn, 80);
PLACE(cm_sample_options, s_tmin, 88);
PLACE(cm_sample_options, s_tmax, 96);
PLACE(cm_sample_options, s_noise, 104);
PLACE(cm_sample_options, edm_discretization, 112);
PLACE(cm_sample_options, edm_schedule, 116);
PLACE(cm_sample_options, edm_scaling, 120);
PLACE(cm_sample_options, edm_solver, 124);
PLACE(cm_sample_options, edm_alpha, 128);
PLACE(cm_sample_options, seed, 136);
PLACE(cm_sample_options, first_index, 144);
PLACE(cm_sample_options, noise_source, 152);
PLACE(cm_sample_options, reserved, 156);
PLACE(cm_sample_options, num_samples, 160);
PLACE(cm_sample_options, noise, 168);
PLACE(cm_sample_options, step_noise, 176);
PLACE(cm_sample_options, noise_steps, 184);
PLACE(cm_sample_options, condition, 192);
PLACE(cm_sample_options, progress, 200);
PLACE(cm_sample_options, progress_user, 208);
PLACE(cm_sample_options, step, 216);
PLACE(cm_sample_options, step_user, 224);
PLACE(cm_sample_options, dpmpp_order, 232);
PLACE(cm_sample_options, dpmpp_form, 236);
PLACE(cm_sample_options, dpmpp_end, 240);
PLACE(cm_sample_options, reserved2, 244);
PLACE(cm_sample_options, rk45_rtol, 248);
PLACE(cm_sample_options, rk45_atol, 256);
PLACE(cm_sample_options, pc_snr, 264);
PLACE(cm_sample_options, rk45_max_nfe, 272);
PLACE(cm_sample_options, pc_corrections, 276);
PLACE(cm_sample_options, evaluations, 280);
PLACE(cm_sample_options, temperature, 288);

SIZE(cm_sampler_info, 40);
PLACE(cm_sampler_info, struct_size, 0);
PLACE(cm_sampler_info, threads, 4);
PLACE(cm_sampler_info, max_batch, 8);
PLACE(cm_sampler_info, reserved, 12);
PLACE(cm_sampler_info, activation_bytes, 16);
PLACE(cm_sampler_info, packed_bytes, 24);
PLACE(cm_sampler_info, plan_seconds, 32);

SIZE(cm_sampler_options, 48);
PLACE(cm_sampler_options, struct_size, 0);
PLACE(cm_sampler_options, max_batch, 4);
PLACE(cm_sampler_options, threads, 8);
PLACE(cm_sampler_options, precision, 12);
PLACE(cm_sampler_options, memory, 16);
PLACE(cm_sampler_options, reserved, 20);
PLACE(cm_sampler_options, debug, 24);
PLACE(cm_sampler_options, below, 32);
PLACE(cm_sampler_options, border, 40);

SIZE(cm_samples_options, 16);
PLACE(cm_samples_options, struct_size, 0);
PLACE(cm_samples_options, overwrite, 4);
PLACE(cm_samples_options, rounding, 8);
PLACE(cm_samples_options, reserved, 12);

SIZE(cm_save_options, 40);
PLACE(cm_save_options, struct_size, 0);
PLACE(cm_save_options, overwrite, 4);
PLACE(cm_save_options, format, 8);
PLACE(cm_save_options, dtype, 12);
PLACE(cm_save_options, shard_bytes, 16);
PLACE(cm_save_options, progress, 24);
PLACE(cm_save_options, progress_user, 32);

SIZE(cm_score_options, 16);
PLACE(cm_score_options, struct_size, 0);
PLACE(cm_score_options, split, 4);
PLACE(cm_score_options, probabilities, 8);
PLACE(cm_score_options, reserved, 12);

SIZE(cm_search_options, 32);
PLACE(cm_search_options, struct_size, 0);
PLACE(cm_search_options, left, 4);
PLACE(cm_search_options, right, 8);
PLACE(cm_search_options, larger, 12);
PLACE(cm_search_options, progress, 16);
PLACE(cm_search_options, progress_user, 24);

SIZE(cm_statistics_info, 32);
PLACE(cm_statistics_info, struct_size, 0);
PLACE(cm_statistics_info, dimension, 4);
PLACE(cm_statistics_info, count, 8);
PLACE(cm_statistics_info, network, 16);
PLACE(cm_statistics_info, weights, 24);

SIZE(cm_subset_options, 24);
PLACE(cm_subset_options, struct_size, 0);
PLACE(cm_subset_options, subsets, 4);
PLACE(cm_subset_options, size, 8);
PLACE(cm_subset_options, reserved, 12);
PLACE(cm_subset_options, seed, 16);

SIZE(cm_train_inputs, 32);
PLACE(cm_train_inputs, struct_size, 0);
PLACE(cm_train_inputs, reserved, 4);
PLACE(cm_train_inputs, model, 8);
PLACE(cm_train_inputs, teacher, 16);
PLACE(cm_train_inputs, group, 24);

SIZE(cm_train_report, 96);
PLACE(cm_train_report, struct_size, 0);
PLACE(cm_train_report, scales, 4);
PLACE(cm_train_report, step, 8);
PLACE(cm_train_report, images, 16);
PLACE(cm_train_report, loss, 24);
PLACE(cm_train_report, grad_norm, 32);
PLACE(cm_train_report, lr, 40);
PLACE(cm_train_report, mu, 48);
PLACE(cm_train_report, ect_stage, 56);
PLACE(cm_train_report, skipped, 60);
PLACE(cm_train_report, seconds, 64);
PLACE(cm_train_report, data_wait, 72);
PLACE(cm_train_report, peak_bytes, 80);
PLACE(cm_train_report, group_wait, 88);

#endif
