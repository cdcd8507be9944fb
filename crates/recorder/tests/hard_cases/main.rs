//! What breaks recorders in practice, one file per case: what is sent, and what the user gets.
//!
//! The numbers are those of the table in docs/media.md, which says the same for users.

#[path = "../common/mod.rs"]
mod common;
mod stage;
mod ticks;

#[path = "01_a_timestamp_jumps_by_hours.rs"]
mod case_01;
#[path = "02_decode_times_go_back_a_little.rs"]
mod case_02;
#[path = "03_two_pictures_have_one_decode_time.rs"]
mod case_03;
#[path = "04_stamps_wrap.rs"]
mod case_04;
#[path = "05_stamps_begin_to_need_the_extended_field.rs"]
mod case_05;
#[path = "06_ticks_need_more_than_33_bits.rs"]
mod case_06;
#[path = "07_ticks_need_more_than_32_bits.rs"]
mod case_07;
#[path = "08_the_first_picture_has_its_moment.rs"]
mod case_08;
#[path = "09_the_encoders_clock_runs_fast.rs"]
mod case_09;
#[path = "10_the_wall_clock_is_set_by_an_hour.rs"]
mod case_10;
#[path = "11_the_hour_that_comes_twice.rs"]
mod case_11;
#[path = "12_sound_is_older_than_the_open_segment.rs"]
mod case_12;
#[path = "13_a_broadcast_outlasts_32_bits.rs"]
mod case_13;
#[path = "14_the_depth_of_reordering_is_not_known.rs"]
mod case_14;
#[path = "15_composition_offsets_are_negative.rs"]
mod case_15;
#[path = "16_no_key_frame_comes_first.rs"]
mod case_16;
#[path = "17_the_resolution_changes.rs"]
mod case_17;
#[path = "18_h265_parameter_sets_change.rs"]
mod case_18;
#[path = "19_colour_is_described.rs"]
mod case_19;
#[path = "20_pictures_are_few_or_irregular.rs"]
mod case_20;
#[path = "21_groups_and_pictures_are_huge.rs"]
mod case_21;
#[path = "22_a_codec_is_not_known.rs"]
mod case_22;
#[path = "23_layers_are_published_side_by_side.rs"]
mod case_23;
#[path = "24_samples_are_empty.rs"]
mod case_24;
#[path = "25_a_track_comes_late.rs"]
mod case_25;
#[path = "26_sound_arrives_seconds_early_or_late.rs"]
mod case_26;
#[path = "27_the_encoder_primes_its_sound.rs"]
mod case_27;
#[path = "28_sound_is_g711_or_lpcm.rs"]
mod case_28;
#[path = "29_sound_has_six_channels.rs"]
mod case_29;
#[path = "30_data_and_extra_tracks.rs"]
mod case_30;
#[path = "31_publishers_fight_for_a_name.rs"]
mod case_31;
#[path = "32_an_encoder_reconnects_within_seconds.rs"]
mod case_32;
#[path = "33_tags_are_garbled.rs"]
mod case_33;
#[path = "35_a_session_is_empty.rs"]
mod case_35;
#[path = "36_the_server_stops_with_publishers_live.rs"]
mod case_36;
#[path = "37_a_crash_in_the_middle_of_a_segment.rs"]
mod case_37;
#[path = "38_the_disk_fills_up.rs"]
mod case_38;
#[path = "39_the_disk_is_slow.rs"]
mod case_39;
#[path = "40_a_file_is_larger_than_4_gib.rs"]
mod case_40;
#[path = "41_an_export_fails_half_way.rs"]
mod case_41;
#[path = "42_something_is_deleted_while_it_is_written_or_read.rs"]
mod case_42;
#[path = "43_a_parent_expires_under_a_clip.rs"]
mod case_43;
#[path = "44_the_cleaner_removes_what_it_should.rs"]
mod case_44;
#[path = "45_names_are_unusual.rs"]
mod case_45;
#[path = "46_a_range_holds_nothing.rs"]
mod case_46;
#[path = "47_bounds_lie_near_a_segments_edge.rs"]
mod case_47;
#[path = "48_a_gap_lies_in_the_range.rs"]
mod case_48;
#[path = "49_hooks_come_before_the_file.rs"]
mod case_49;
#[path = "50_a_sync_fails.rs"]
mod case_50;
