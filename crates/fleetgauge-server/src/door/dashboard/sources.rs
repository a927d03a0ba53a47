//! The page of where numbers come from.

use fleetgauge_core::printable::Printable;
use fleetgauge_core::time::Timestamp;
use maud::html;

use super::overview::ago;
use super::page::Part;
use super::words::Lasting;
use crate::door::api::{Reloads, RemoteView, SourceView};
use crate::scheduler::RefreshCounts;

pub(super) fn parts(
    sources: &[SourceView],
    remotes: &[RemoteView],
    refreshes: &RefreshCounts,
    reloads: &Reloads,
    now: Timestamp,
) -> Vec<Part> {
    let content = html! {
        h1 { "Sources" }
        @for source in sources {
            @let stats = source.source.stats();
            article .card {
                h2 { (source.name) " " small { (source.kind) } }
                dl .facts {
                    dt { "Queries" } dd { (source.source.query_list().len()) }
                    dt { "Asked" }
                    dd { (stats.flights + stats.asked) " times, " (stats.flights_shared) " answers shared, " (stats.in_flight) " under way" }
                    dt { "Answers kept" } dd { (stats.cache.entries) }
                    dt { "Failures" }
                    dd {
                        @if stats.failures.is_empty() { "none" }
                        @for (reason, count) in &stats.failures { code { (reason) } " " (count) " " }
                    }
                    @if let Some(scraping) = &source.scraping {
                        @let scraped = scraping.scrape_stats();
                        dt { "Targets" } dd { (scraped.targets_up) " of " (scraped.targets) " up" }
                        dt { "Left out" }
                        dd {
                            (scraped.targets_duplicate) " of the labels of another, " (scraped.targets_dropped) " not to be scraped, "
                            (scraped.targets_relabel_dropped) " dropped by relabeling, "
                            (scraped.targets_of_other_shards) " of other shards"
                        }
                        @for (discovery, error) in scraping.discovery_errors() {
                            dt { "Discovery fails" } dd .failing { (Printable(&discovery)) ": " (Printable(&error.to_string())) }
                        }
                    }
                }
            }
        }
        @for remote in remotes {
            @let stats = remote.remote.stats();
            article .card {
                h2 { (Printable(&remote.name)) " " small { "remote write" } }
                dl .facts {
                    dt { "State" }
                    dd .failing[stats.is_failing] {
                        @if stats.is_failing { "takes nothing now, and is tried again" } @else { "takes samples" }
                    }
                    dt { "All was sent" } dd { (Lasting(stats.lag)) " ago" }
                    dt { "Samples" }
                    dd {
                        (stats.sent) " sent, " (stats.refused) " refused, " (stats.unconfirmed) " of which nobody knows "
                        "whether it has them, " (stats.lost) " lost"
                        @if stats.not_written > 0 { ", " (stats.not_written) " not written, as the server says" }
                        @if stats.left_out > 0 {
                            ", " (stats.left_out) " histograms with custom buckets left out, which need remote write 2.0"
                        }
                    }
                    dt { "Tried again" } dd { (stats.retries) " times" }
                }
            }
        }
        h2 { "Refreshes" }
        p { (refreshes.answered()) " answered, " (refreshes.failed()) " failed, " (refreshes.late()) " late" }
        h2 { "Configuration" }
        p {
            "read again " (reloads.taken) " times, refused " (reloads.refused) " times; the last time "
            (ago(reloads.at, now)) @if reloads.at.is_some() { " ago" }
        }
        @if let Some(error) = &reloads.error { pre .failing { (Printable(error)) } }
    };
    vec![Part {
        id: "sources",
        content,
    }]
}
