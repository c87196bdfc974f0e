"""Every sentence of what is promised has a test behind it, or says itself that it has none.

A sentence is known by how it begins. One that is new, or worded anew, has to be listed here; and
a test that is renamed or lost is missed.
"""

from __future__ import annotations

import ast
import re
from functools import cache

import pytest
from conftest import ROOT

SECTIONS = {
    ("README.md", "## Install"): "",  # what stands before it
    ("README.md", "## Promises and limits"): "## More",
    ("SECURITY.md", "## What is promised"): "## How it is held",
    ("SECURITY.md", "## How it is held"): "## Reporting",
}
BY_HAND = "figures of runs that take hours, by hand"
WORDS = "advice, or what is not promised"

PROMISES = {
    # README, the first list
    "**The theorem at work.**": [
        "format: a_file_holds_k_times_m_plus_n_plus_1_floats_and_little_else",
        "theorems: t43_no_rival_has_a_smaller_spectral_error",
        "theorems: t44_no_rival_has_a_smaller_frobenius_error",
    ],
    "**Exact targets, at the first try.**": [
        "rank: energy_keeps_its_share_with_the_fewest_terms",
        "rank: error_is_kept_with_the_fewest_terms",
        "rank: size_is_the_largest_file_that_fits_in_order_of_sigma",
        "largest: random_matrices_get_the_smallest_rank_that_holds",
        "packed_frames: a_size_is_kept_and_used",
    ],
    "**Any samples.**": [
        "samples: every_type_and_number_of_channels_survives",
        "samples: what_is_written_has_the_same_type_and_channels",
        "samples: 16_bit_colour_of_a_png_is_kept",
    ],
    "**Every prefix is an image.**": [
        "format: every_prefix_that_ends_after_a_term_is_the_best_image_of_these_terms",
        "format: terms_of_all_channels_descend_together",
    ],
    "**Small when you want it small.**": "benchmarks/rate_distortion.py",
    "**Stacks.**": ["stacks: bounds_are_those_of_the_svd_and_errors_meet_them"],
    "The same proof; any frame or pixel": [
        "stacks: indexing_is_numpys_on_the_decoded_stack",
        "stacks: a_trace_uses_no_more_than_twice_the_bytes_that_it_needs",
        "stacks: coefficients_and_components_are_the_stack",
    ],
    "Packed, where the rank is low": "benchmarks/stacks.py",
    "**Larger than memory.**": [
        "passes: neither_memory_nor_threads_change_a_bit",
        "passes: every_source_gives_the_factors_of_the_array",
        "spread: four_workers_write_the_file_of_one_machine",
    ],
    "**For keeps.**": [
        "hostile: every_bit_flip_and_truncation_of_a_golden_file_is_refused",
        "verify: seven_damaged_files_of_a_thousand_are_named_and_no_other",
        "manifest: the_manifest_finds_what_is_missing_changed_exchanged_and_new",
        "independent: golden_files_decode_to_the_samples_that_the_index_says",
        "golden: a_golden_file_decodes_to_the_samples_it_always_did",
    ],
    # README, promises and limits
    "A damaged file is refused; `--partial`": [
        "hostile: every_bit_flip_and_truncation_of_a_golden_file_is_refused",
        "partial: whatever_the_damage_nothing_damaged_is_shown_and_a_note_says_what_is",
    ],
    "A report that cannot be true": [
        "claims: a_rank_that_is_not_the_payloads_is_refused_by_all_that_says_or_shows_anything",
        "claims: no_error_below_its_bound_is_called_a_proof",
    ],
    "A million damaged files": BY_HAND,
    "Whatever the bytes, reading raises": [
        "hostile: only_our_errors_escape_from_mutants",
        "images: damaged_files_raise_nothing_foreign",
        "limits: the_limit_on_pixels_is_checked_before_memory_is_taken",
    ],
    "Outputs appear whole or not at all": [
        "whole_or_not: whichever_step_fails_the_file_is_old_or_new_or_absent",
        "files: an_existing_file_is_replaced_on_request_only",
        "files: a_file_is_itself_through_every_link",
        "whole_or_not: an_output_is_never_open_to_more_than_its_input",
    ],
    "EXIF, ICC, XMP and resolution survive": [
        "images: metadata_travel_byte_for_byte",
        "metadata: the_density_of_a_jpeg_is_carried",
        "declared: unsigned_integers_of_32_bits_are_never_negative",
        "nodata: they_come_back_exactly_and_the_rest_is_near",
    ],
    "Decoding gives the same samples on any machine, but for the last bits": [
        "golden: decoding_is_bit_identical_on_other_processors_and_threads",
    ],
    "Limits: 178,956,970 pixels": [
        "faults: the_limit_on_pixels_holds_wherever_an_image_comes_from",
        "stacks: frames_count_together_and_apart",
        "images: 16_bit_colour_keeps_the_upper_byte_and_says_so",
        "samples: a_psnr_of_packed_floats_is_that_of_their_range",
        "packing: integers_of_32_bits_have_no_packed_store",
    ],
    # SECURITY, what is promised
    "`lowrank` is meant to be given": WORDS,
    "Reading a `.lrk` file or an image": [
        "hostile: only_our_errors_escape_from_mutants",
        "no_warnings: headers_of_any_values_raise_our_errors_alone",
        "images: damaged_files_raise_nothing_foreign",
        "printable: every_error_is_one_printable_line",
    ],
    "A damaged `.lrk` file is refused": [
        "format: every_single_bit_flip_is_refused_even_where_a_damaged_file_is_welcome",
        "hostile: every_bit_flip_and_truncation_of_a_golden_file_is_refused",
    ],
    "`--partial` takes what is whole": [
        "partial: every_flip_and_cut_of_a_golden_file_is_refused_or_leaves_what_is_whole",
        "partial: the_command_line_notes_what_was_salvaged",
    ],
    "One thing can be shown unchecked": [
        "partial: a_cut_payload_of_one_piece_says_that_no_checksum_stands_behind_it",
    ],
    "Checksums find accidents, not forgers": [
        "claims: a_rank_that_is_not_the_payloads_is_refused_by_all_that_says_or_shows_anything",
        "claims: numbers_of_a_float_file_that_cannot_be_true_together_are_refused",
    ],
    "Sizes are checked against the bytes": [
        "limits: the_limit_on_pixels_is_checked_before_memory_is_taken",
        "limits: what_the_header_of_a_float_file_claims_takes_neither_memory_nor_time",
        "limits: what_the_header_of_a_packed_file_claims_takes_neither_memory_nor_time",
    ],
    "Of a stack each frame counts": ["stacks: frames_count_together_and_apart"],
    "A float file of a stack that the library opens": [
        "stacks: damage_is_found_where_it_is_used",
        "stacks: a_trace_uses_no_more_than_twice_the_bytes_that_it_needs",
        "stacks: no_bit_of_a_file_may_be_flipped",
    ],
    "Such a file is mapped into memory": WORDS,
    "Labels of frames are texts": [
        "stacks: labels_of_another_number_or_size_are_refused",
        "stack_files: a_label_steers_no_terminal",
    ],
    "Decoding a `.lrk` file takes at most": [
        "limits: decoding_takes_no_more_memory_than_is_documented",
        "limits: thin_pictures_take_so_much_for_each_row_and_column_and_no_more",
        "limits: decoding_a_packed_stack_takes_no_more_memory_than_is_documented",
    ],
    "In layout patches, and of each plane": [
        "limits: whole_patches_count_against_the_limit_on_pixels",
        "limits: whole_patches_of_packed_stacks_count_too",
    ],
    "A file of a hundred bytes may be": WORDS,
    "On Linux what will be taken": [
        "limits: memory_is_compared_with_the_machine_and_with_its_container",
        "limits: a_picture_that_does_not_fit_is_one_line",
    ],
    "Work is counted before it is done": [
        "limits: more_work_than_the_limits_allow_is_refused_before_it_is_done",
        "limits: the_limits_on_work_are_those_that_are_documented",
        "limits: a_packed_stack_that_asks_for_more_work_than_the_limit_is_refused",
    ],
    "In layout patches no more coefficients": [
        "limits: layout_patches_has_no_more_coefficients_than_samples",
    ],
    "A float file holds every number": [
        "limits: a_float_file_holds_every_number_that_is_multiplied",
    ],
    "As measured, and not held by a test": BY_HAND,
    "Images are read by Pillow through": [
        "images: formats_off_the_list_are_refused",
        "known: what_nothing_is_known_of_is_no_image",
    ],
    "HEIC goes through pillow-heif": [
        "known: heic_is_read",
        "samples: what_an_extra_would_read_is_refused_or_said_by_its_name",
        "samples: a_tiff_gives_the_samples_that_it_states",
    ],
    "Arrays of numpy and of zarr are read without": [
        "samples: arrays_that_cannot_be_are_refused_before_memory_is_taken",
        "afar: a_pickled_array_of_zarr_is_refused_and_not_run",
    ],
    "Names, texts in files and option values": [
        "printable: every_error_is_one_printable_line",
        "printable: a_name_stays_on_its_line_and_steers_nothing",
        "printable: a_keyword_in_a_picture_steers_nothing",
    ],
    "JSON escapes these.": ["printable: json_escapes_only_what_it_must"],
    "Nothing is executed, fetched or written": [
        "requests: plan_is_made_without_touching_anything",
        "hostile: files_that_are_no_lrk_are_refused_whatever_they_are",
    ],
    "The HTML page that": [
        "page: policy_forbids_what_is_not_ours",
        "site: the_policy_lets_nothing_out",
    ],
    "Connections are opened for two things": [
        "afar: answers_that_are_no_file_are_named",
        "afar: a_web_server_gives_what_a_folder_does",
    ],
    "An output is written beside its place": [
        "whole_or_not: whichever_step_fails_the_file_is_old_or_new_or_absent",
        "files: a_signal_leaves_the_old_file_and_nothing_else",
        "disk: a_full_or_closed_disk_is_one_line_and_keeps_the_old_file",
        "whole_or_not: of_many_writers_one_wins",
    ],
    "An existing file is replaced only": [
        "files: an_existing_file_is_replaced_on_request_only",
        "whole_or_not: skip_existing_redoes_what_is_older_than_its_source",
        "files: a_file_is_itself_through_every_link",
    ],
    "An output of the command has no permission": [
        "whole_or_not: an_output_is_never_open_to_more_than_its_input",
    ],
    "A process that is killed outright": [
        "whole_or_not: killed_at_any_step_the_file_is_old_or_new_or_absent",
    ],
    "What is not promised": WORDS,
    # SECURITY, how it is held
    "`make test` damages a file": [
        "hostile: every_bit_flip_and_truncation_of_a_golden_file_is_refused",
        "hostile: only_our_errors_escape_from_mutants",
        "disk: a_write_that_stops_halfway_leaves_the_old_file_and_no_other",
        "limits: a_picture_that_does_not_fit_is_one_line",
    ],
    "`make fuzz` reads a million mutants": [
        "fuzz: mutating_ends_when_it_has_done_what_was_asked_for",
        "fuzz: what_a_file_may_take_is_in_proportion_to_what_it_is_and_claims",
        "fuzz: kills_and_interruptions_leave_whole_files",
    ],
    "`make fuzz-guided` looks for code": ["fuzz: a_corpus_is_counted_file_by_file"],
    "So far:": BY_HAND,
    "Since then": BY_HAND,
    "These found one fault": [
        "limits: the_filter_takes_little_more_for_a_thin_plane_than_for_another"
    ],
    "Besides, 3,578 images": BY_HAND,
    "Of 200 kills during writing": BY_HAND,
}


def sentences():
    for (page, start), end in SECTIONS.items():
        text = (ROOT / page).read_text(encoding="utf-8")
        if not end:
            text = text[text.index("\n- **") : text.index(f"\n{start}\n")]
        else:
            text = text[text.index(f"{start}\n") + len(start) : text.index(f"\n{end}\n")]
        for block in re.split(r"\n\n|\n(?=- )", text.strip()):
            line = " ".join(block.split()).removeprefix("- ")
            yield from filter(None, re.split(r"(?<=[.?])\s+(?=[A-Z*`])", line))


@cache
def names_in(module):
    tree = ast.parse((ROOT / f"tests/test_{module}.py").read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def test_every_sentence_of_a_promise_is_listed_once():
    assert [s for s in sentences() if sum(s.startswith(key) for key in PROMISES) != 1] == []


@pytest.mark.parametrize("start", PROMISES)
def test_what_is_listed_is_promised_and_held(start):
    assert any(sentence.startswith(start) for sentence in sentences())
    held = PROMISES[start]
    if isinstance(held, str):
        assert held in (BY_HAND, WORDS) or (ROOT / held).is_file()
        return
    for one in held:
        module, name = one.split(": ")
        assert f"test_{name}" in names_in(module), one
