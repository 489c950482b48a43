"""What each operation of each tool is held against: a program, a library or a server that is none of ours.

`test_tool_oracles` asserts that no operation is left out, that each test is there, and that it names both. An
operation is a value of the parameter ``operation``, of ``check_type`` where that says what is done, or ``run`` of a
tool that does one thing. ``PAGE`` of the documentation is written from this table.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

__all__ = ["ORACLES", "Held", "pairs"]


class Held(NamedTuple):
    """How an operation is tested: by which test, against what."""

    test: str
    oracle: str


def _all(names: str, test: str, oracle: str) -> dict[str, Held]:
    return {name: Held(test, oracle) for name in names.split()}


_BESIDE: Final = "test_tools_beside_programs.py::test_"
_MORE: Final = "test_more_tools_beside_programs.py::test_"
_FILES: Final = "test_files_beside_programs.py::test_"
_WEB: Final = "test_tools_web.py::test_"
_MARKUP: Final = "test_tools_markup.py::test_"
_SYSTEM: Final = "test_tools_of_the_system.py::test_"
_GRAPHQL: Final = "test_tools_graphql.py::test_"
_DATE: Final = "test_date_time_handler.py::test_"
_PDF: Final = "test_pdf_processor.py::test_"
_IMAGE: Final = "test_image_processor.py::test_"
_TEXTS: Final = _BESIDE + "a_text_becomes_what_a_program_makes_of_it"

ORACLES: Final[Mapping[str, Mapping[str, Held]]] = {
    "api-tester": _all("run", _MORE + "a_server_answers_a_request_as_it_answers_curl", "curl"),
    "archive_handler": {
        "create": Held("test_archive_handler.py::test_a_zip_is_made_that_unzip_and_7z_read", "7z"),
        "extract": Held("test_archive_handler.py::test_a_zip_of_the_program_is_unpacked", "zip"),
        "list": Held("test_archive_handler.py::test_a_list_tells_what_unzip_and_tar_list", "unzip"),
        "test": Held("test_archive_handler.py::test_a_damaged_archive_is_told_and_writes_nothing", "unzip"),
    },
    "ask-user": {
        "ask": Held("test_ask_user.py::test_a_person_at_a_terminal_is_asked_and_answers", "terminal"),
        "choose": Held("test_ask_user.py::test_a_choice_is_asked_again_until_it_is_one", "terminal"),
    },
    "audio_processor": {
        **_all("detect metadata", "test_audio_processor.py::test_metadata_is_what_ffprobe_tells", "ffprobe"),
        "convert": Held("test_audio_processor.py::test_convert_to_wav_keeps_what_is_heard", "soxi"),
        "trim": Held("test_audio_processor.py::test_trim_cuts_out_the_part", "sox"),
        "waveform": Held("test_audio_processor.py::test_the_waveform_has_the_peak_that_sox_finds", "sox"),
    },
    "base64_encoder": {
        "encode": Held("test_base64_encoder.py::test_a_text_is_encoded_as_openssl_does", "openssl"),
        "decode": Held("test_base64_encoder.py::test_what_coreutils_wrapped_is_decoded", "base64"),
    },
    "calculator": {
        "evaluate": Held(_BESIDE + "a_value_is_what_bc_computes", "bc"),
        "validate": Held(_BESIDE + "an_expression_is_valid_where_awk_reads_it", "awk"),
        "functions": Held(_BESIDE + "every_function_that_is_listed_gives_what_perl_gives", "perl"),
    },
    "citation-formatter": {
        "format_citation": Held("test_citation_formatter.py::test_references_are_those_of_citeproc", "pandoc"),
        "convert": Held(
            "test_citation_formatter.py::test_bibtex_that_is_written_is_read_by_pandoc_as_it_was", "pandoc"
        ),
        "validate_bibliography": Held(
            _MORE + "a_bibliography_has_the_entries_that_pandoc_reads_and_numbers_that_perl_finds_right", "pandoc"
        ),
        "list_styles": Held(_MORE + "the_styles_that_are_listed_are_styles_of_the_csl_project", "xmllint"),
    },
    "csv_analyzer": {
        "analyze": Held(_BESIDE + "a_table_is_measured_as_sqlite_measures_it", "sqlite3"),
        **_all(
            "convert filter transform", _BESIDE + "a_table_is_converted_filtered_and_changed_as_by_sqlite", "sqlite3"
        ),
        **_all(
            "validate sample",
            _BESIDE + "cells_are_found_wrong_where_sqlite_finds_them_and_a_sample_is_what_head_takes",
            "sqlite3",
        ),
    },
    "data_validation": _all(
        "run", "test_data_validation.py::test_a_value_is_valid_where_jsonschema_says_so", "jsonschema"
    ),
    "database-connector": {
        "query": Held("test_database_connector.py::test_a_query_answers_what_the_program_answers", "sqlite3"),
        "schema": Held("test_database_connector.py::test_the_schema_is_what_the_program_says", "sqlite3"),
        "explain": Held("test_database_connector.py::test_explain_tells_the_plan_of_the_program", "sqlite3"),
        "execute": Held("test_database_connector.py::test_execute_changes_rows_and_says_how_many", "sqlite3"),
    },
    "date_time_handler": {
        "parse": Held(_DATE + "a_time_is_read_as_date_reads_it", "date"),
        "now": Held(_BESIDE + "times_are_as_far_apart_and_now_is_when_date_says", "date"),
        "convert_timezone": Held(_DATE + "a_time_is_converted_as_date_does", "date"),
        **_all("add subtract", _DATE + "what_is_added_and_taken_away_is_what_date_says", "date"),
        "difference": Held(_BESIDE + "times_are_as_far_apart_and_now_is_when_date_says", "date"),
        "info": Held(_DATE + "what_is_told_of_a_day_is_what_date_tells", "date"),
        "formats": Held(_BESIDE + "every_format_that_is_listed_is_the_moment_that_date_reads", "date"),
    },
    "diff_calculator": {
        "diff": Held("test_diff_calculator.py::test_the_hunks_of_a_small_change_are_those_of_diff", "diff"),
        "apply": Held("test_diff_calculator.py::test_a_patch_of_diff_is_applied", "diff"),
    },
    "email-sender": {
        "send": Held("test_email_sender.py::test_attachments_and_html_are_what_munpack_takes_out", "munpack"),
        "validate": Held(_MORE + "an_address_is_sound_where_a_mail_server_takes_it", "aiosmtpd"),
        "preview": Held(_MORE + "a_mail_that_is_shown_is_what_munpack_takes_apart", "munpack"),
    },
    "environment_reader": {
        "get": Held("test_environment_reader.py::test_a_variable_is_what_env_prints", "env"),
        **_all("list pattern", "test_environment_reader.py::test_those_that_are_open_are_listed", "env"),
        "set": Held(_MORE + "a_variable_that_is_set_is_seen_by_the_host_and_by_no_program", "env"),
    },
    "file-editor": _all(
        "view create str_replace insert undo",
        _FILES + "edits_of_a_file_are_those_of_sed_and_their_undoing_is_seen_by_cmp",
        "sed",
    ),
    "file_converter": {
        "encoding": Held("test_file_converter.py::test_an_encoding_is_converted_as_iconv_does_and_back", "iconv"),
        "line_endings": Held("test_file_converter.py::test_line_ends_are_those_of_their_program", "unix2dos"),
        "indentation": Held("test_file_converter.py::test_indentation_is_that_of_expand_and_unexpand", "expand"),
        "detect": Held("test_file_converter.py::test_an_encoding_is_detected", "file"),
    },
    "file_operations": {
        "read": Held(_FILES + "a_file_is_read_as_cat_reads_it", "cat"),
        **_all("write append", _FILES + "what_is_written_and_appended_is_what_cat_shows", "cat"),
        **_all(
            "create_dir copy move delete",
            _FILES + "what_is_made_copied_moved_and_deleted_is_what_find_and_diff_see",
            "find",
        ),
        **_all("list_dir metadata exists", _FILES + "a_listing_is_that_of_find_and_what_is_told_that_of_stat", "stat"),
    },
    "file_search": _all("run", "test_file_search.py::test_each_match_is_told_as_ripgrep_tells_it", "rg"),
    "file_watcher": {
        "watch": Held("test_file_watcher.py::test_it_sees_what_inotifywait_sees", "inotifywait"),
        "config": Held(_FILES + "the_limits_of_a_watch_are_those_that_the_kernel_allows_or_less", "inotify"),
    },
    "graph-builder": {
        **_all(
            "create_graph add_node add_edge export_dot",
            _BESIDE + "nodes_and_edges_that_are_put_in_are_those_that_gc_counts",
            "gc",
        ),
        "analyze": Held("test_graph_builder.py::test_analyze_counts_what_gc_counts", "gc"),
        **_all("export_json import_json", _BESIDE + "a_graph_as_json_is_what_jq_reads_and_comes_back", "jq"),
        "path": Held(_BESIDE + "the_shortest_path_is_as_long_as_dijkstra_says", "dijkstra"),
        "components": Held("test_graph_builder.py::test_components_are_those_of_ccomps", "ccomps"),
        "centrality": Held(_BESIDE + "the_centrality_by_degree_is_what_jq_counts", "jq"),
        "topological": Held(_BESIDE + "the_order_is_one_that_tsort_gives", "tsort"),
        "export_mermaid": Held(
            _BESIDE + "the_drawing_for_mermaid_has_the_edges_that_gc_counts_once_sed_makes_dot_of_it", "gc"
        ),
    },
    "graphql_query": {
        **_all("query mutation", _GRAPHQL + "a_query_and_a_mutation_are_answered", "graphql"),
        "subscription": Held(_GRAPHQL + "a_subscription_is_heard_to_its_end", "graphql"),
        "introspection": Held(_GRAPHQL + "introspection_tells_the_schema", "graphql"),
        "validate": Held(_GRAPHQL + "a_document_is_checked_by_a_schema_without_being_sent", "graphql"),
    },
    "hash_calculator": {
        "hash": Held("test_hash_calculator.py::test_a_text_has_the_hash_that_openssl_tells", "openssl"),
        "verify": Held("test_hash_calculator.py::test_a_hash_is_verified_in_either_writing", "sha256sum"),
    },
    "http_request": _all("run", _MORE + "a_server_answers_a_request_as_it_answers_curl", "curl"),
    "image_processor": {
        "detect": Held(_IMAGE + "a_format_is_known_by_what_is_in_the_file", "convert"),
        "metadata": Held(_IMAGE + "metadata_is_what_identify_tells", "identify"),
        "resize": Held(_IMAGE + "resize_makes_the_size_and_keeps_the_picture", "compare"),
        "convert": Held(_IMAGE + "convert_writes_the_format", "identify"),
        "crop": Held(_IMAGE + "crop_cuts_out_the_part", "compare"),
        "rotate": Held(_IMAGE + "rotate_turns_clockwise", "compare"),
        "thumbnail": Held(_IMAGE + "a_thumbnail_fits_and_keeps_its_proportions", "identify"),
        "strip_exif": Held(_IMAGE + "exif_is_told_and_turned_by_and_taken_out", "identify"),
        "compare": Held(_IMAGE + "compare_tells_how_much_two_images_differ", "compare"),
    },
    "json_processor": {
        **_all("query transform jq", _BESIDE + "a_query_answers_what_the_program_jq_answers", "jq"),
        **_all("stream parse", _BESIDE + "lines_are_streamed_and_texts_parsed_as_by_the_program_jq", "jq"),
        "validate": Held(_BESIDE + "a_value_is_valid_where_node_says_so", "node"),
    },
    "markdown-converter": {
        "to_html": Held(_WEB + "markdown_becomes_the_html_of_pandoc", "pandoc"),
        "from_html": Held(_WEB + "html_becomes_markdown_that_pandoc_reads_the_same", "pandoc"),
        "outline": Held(_WEB + "an_outline_has_the_headings_of_pandoc", "pandoc"),
    },
    "pdf-processor": {
        "extract_text": Held(_PDF + "the_text_is_what_pdftotext_finds", "pdftotext"),
        "extract_pages": Held(_PDF + "pages_are_told_one_by_one_and_only_those_asked_for", "pdftotext"),
        "extract_metadata": Held(_PDF + "metadata_is_what_pdfinfo_tells", "pdfinfo"),
        **_all("outline forms", _PDF + "the_outline_has_its_pages_and_the_form_its_values", "qpdf"),
        "render": Held(_PDF + "render_draws_what_pdftoppm_draws", "pdftoppm"),
        "search": Held(_PDF + "search_finds_every_place_with_what_is_around_it", "pdftotext"),
    },
    "process_executor": _all("run", "test_process_executor.py::test_a_program_runs_as_it_does_elsewhere", "uname"),
    "regex-matcher": {
        "match": Held("test_regex_matcher.py::test_the_first_match_is_told_with_its_place_and_groups", "perl"),
        "find_all": Held("test_regex_matcher.py::test_all_matches_are_those_of_perl", "perl"),
        "replace": Held("test_regex_matcher.py::test_matches_are_replaced_as_perl_does", "perl"),
        "split": Held("test_regex_matcher.py::test_a_text_is_split_as_perl_does", "perl"),
        "validate": Held(_BESIDE + "a_pattern_is_sound_where_perl_can_read_it", "perl"),
    },
    "script-runner": _all("run", _MORE + "a_script_gives_what_the_program_lua_gives", "lua5.4"),
    "service_checker": {
        "tcp": Held(_MORE + "a_port_answers_where_curl_can_connect", "curl"),
        "tls": Held(_SYSTEM + "a_certificate_is_told_as_by_openssl_if_it_is_trusted", "openssl"),
        "http": Held(_SYSTEM + "a_web_address_is_available_unless_its_server_fails", "curl"),
        "https": Held(_SYSTEM + "an_address_over_https_is_available_as_curl_finds_it", "curl"),
        "dns": Held(_SYSTEM + "a_name_is_looked_up_by_the_same_rules", "getent"),
    },
    "sitemap-crawler": _all("run", "test_sitemap_crawler.py::test_a_sitemap_reads_as_xmllint_reads_it", "xmllint"),
    "system_monitor": {
        **_all("all stats process network", _SYSTEM + "processes_and_interfaces_are_those_of_proc", "/proc"),
        "cpu": Held(_SYSTEM + "the_processor_is_that_of_proc", "/proc/cpuinfo"),
        "memory": Held(_SYSTEM + "the_memory_is_that_of_proc", "/proc/meminfo"),
        "disk": Held(_SYSTEM + "the_disk_is_that_of_df", "df"),
    },
    "template_engine": {
        "render": Held("test_template_engine.py::test_handlebars_renders_as_handlebars_js_does", "handlebars"),
        "validate": Held(_MORE + "a_template_is_sound_where_handlebars_js_compiles_it", "handlebars"),
    },
    "text_manipulator": {
        **_all("uppercase lowercase split snake_case normalize_whitespace", _TEXTS, "tr"),
        "reverse": Held(_TEXTS, "rev"),
        **_all("trim camel_case pascal_case", _TEXTS, "perl"),
        **_all("replace sanitize indent dedent", _TEXTS, "sed"),
        **_all("substring truncate", _TEXTS, "cut"),
        "join": Held(_TEXTS, "paste"),
        "word_wrap": Held(_TEXTS, "fold"),
    },
    "tool-state": _all(
        "get set delete list stats cache",
        _BESIDE + "what_tool_state_keeps_is_what_sqlite_finds_in_the_file",
        "sqlite3",
    ),
    "url-analyzer": _all("run", "test_url_analyzer.py::test_a_url_has_the_parts_that_node_finds", "node"),
    "uuid_generator": {
        **_all("generate component_id validate", _BESIDE + "a_uuid_is_one_to_uuidparse", "uuidparse"),
        "deterministic": Held("test_uuid_generator.py::test_a_name_gives_what_uuidgen_gives", "uuidgen"),
        "custom": Held("test_uuid_generator.py::test_an_id_of_ones_own_has_its_parts", "date"),
    },
    "video_processor": {
        **_all("detect metadata", "test_video_processor.py::test_metadata_is_what_ffprobe_tells", "ffprobe"),
        "extract_frame": Held("test_video_processor.py::test_a_frame_is_the_one_that_is_shown_then", "ffmpeg"),
        "thumbnail": Held("test_video_processor.py::test_a_thumbnail_is_small", "identify"),
    },
    "web-fetch": _all("run", _WEB + "a_fetched_page_reads_as_in_lynx", "lynx"),
    "web-scraper": _all("run", _WEB + "selectors_find_what_xmllint_finds", "xmllint"),
    "web_search": _all("run", "test_web_search.py::test_an_answer_reads_as_curl_and_jq_read_it", "curl"),
    "webhook-caller": _all("run", "test_tools_http.py::test_the_signature_of_github_is_openssls", "openssl"),
    "webpage-monitor": _all("run", _WEB + "a_monitored_page_tells_what_diff_tells", "diff"),
    "xml-processor": {
        **_all("parse transform_json", _BESIDE + "xml_is_counted_and_made_json_as_xmllint_finds_it", "xmllint"),
        "query": Held(_MARKUP + "an_xpath_finds_what_xmllint_finds", "xmllint"),
        "validate": Held(_MARKUP + "a_schema_judges_as_in_xmllint", "xmllint"),
        "format": Held(_MARKUP + "a_formatted_document_is_the_same_to_xmllint", "xmllint"),
        "c14n": Held(_MARKUP + "the_canonical_form_is_that_of_xmllint", "xmllint"),
    },
    "yaml-processor": {
        **_all("parse query dump", _BESIDE + "yaml_is_read_looked_up_and_written_as_by_yq", "yq"),
        "merge": Held(_BESIDE + "yaml_is_merged_as_jq_multiplies", "yq"),
    },
}
"""The operations of each tool, and how each is tested."""


def pairs() -> Iterator[tuple[str, str, Held]]:
    """Yield each tool with each of its operations."""
    for tool, operations in ORACLES.items():
        for operation, held in operations.items():
            yield tool, operation, held
