//! Which form a scraper wants (RFC 9110, sections 12.4.2, 12.5.1 and 12.5.3).

use super::Format;

/// The form for an `Accept` header.
///
/// OpenMetrics only where it is asked for by name, in a version that is written here, and liked at least as much as
/// plain text; everything else gets plain text, which every scraper reads.
pub fn accepts(header: Option<&str>) -> Format {
    let mut openmetrics = 0.0f32;
    // The most specific range that covers text/plain decides: (how specific, quality).
    let mut text = (0, 0.0f32);
    for (range, parameters, quality) in ranges(header.unwrap_or_default()) {
        let specific = match range.to_ascii_lowercase().as_str() {
            "application/openmetrics-text" if matches!(parameter(parameters, "version"), None | Some("1.0.0")) => {
                openmetrics = openmetrics.max(quality);
                continue;
            }
            "text/plain" => 3,
            "text/*" => 2,
            "*/*" => 1,
            _ => continue,
        };
        if specific > text.0 || (specific == text.0 && quality > text.1) {
            text = (specific, quality);
        }
    }
    if openmetrics > 0.0 && openmetrics >= text.1 { Format::OpenMetrics } else { Format::Text004 }
}

/// Whether an `Accept-Encoding` header allows gzip.
pub fn accepts_gzip(header: Option<&str>) -> bool {
    let quality = |coding: &str| {
        ranges(header.unwrap_or_default())
            .find(|(range, ..)| range.eq_ignore_ascii_case(coding))
            .map(|(_, _, quality)| quality)
    };
    quality("gzip").or_else(|| quality("x-gzip")).or_else(|| quality("*")).is_some_and(|quality| quality > 0.0)
}

/// The members of a header list: range, parameters, quality. One whose quality is no number counts as refused.
fn ranges(header: &str) -> impl Iterator<Item = (&str, &str, f32)> {
    header.split(',').map(|member| {
        let (range, parameters) = member.split_once(';').unwrap_or((member, ""));
        let quality = parameter(parameters, "q").map_or(1.0, |q| q.parse().unwrap_or(0.0));
        (range.trim(), parameters, quality)
    })
}

/// The value of a parameter in `a=b; c="d"`.
fn parameter<'a>(parameters: &'a str, name: &str) -> Option<&'a str> {
    parameters
        .split(';')
        .filter_map(|parameter| parameter.split_once('='))
        .find(|(key, _)| key.trim().eq_ignore_ascii_case(name))
        .map(|(_, value)| value.trim().trim_matches('"'))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Headers as Prometheus 2.42, 2.55 and 3.x send them, by default and with native histograms, then other clients'.
    #[test]
    fn real_scrapers_get_what_they_prefer() {
        use Format::{OpenMetrics, Text004};
        for (header, want) in [
            (
                "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
                 text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
                OpenMetrics,
            ),
            (
                "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,\
                 text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
                OpenMetrics,
            ),
            (
                "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
                 application/openmetrics-text;version=0.0.1;q=0.5,\
                 text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
                OpenMetrics,
            ),
            (
                "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.6,\
                 application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,\
                 application/openmetrics-text;version=0.0.1;q=0.4,\
                 text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1",
                OpenMetrics,
            ),
            ("text/plain;version=0.0.4;q=0.5,*/*;q=0.1", Text004),
            ("text/plain;version=0.0.4,application/openmetrics-text;version=1.0.0;q=0.5", Text004),
            ("application/openmetrics-text; version=0.0.1,text/plain;version=0.0.4;q=0.5,*/*;q=0.1", Text004),
            ("text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8", Text004),
            ("*/*", Text004),
            ("", Text004),
        ] {
            assert_eq!(accepts(Some(header)), want, "{header}");
        }
        assert_eq!(accepts(None), Text004);
    }

    #[test]
    fn qualities_are_weighed() {
        use Format::{OpenMetrics, Text004};
        for (header, want) in [
            ("application/openmetrics-text;q=0", Text004),
            ("application/openmetrics-text;q=nonsense", Text004),
            ("application/openmetrics-text;q=0.2, text/*;q=0.3", Text004),
            ("application/openmetrics-text;q=0.2, text/plain;q=0.1, */*;q=0.9", OpenMetrics),
            ("APPLICATION/OpenMetrics-Text; Version=\"1.0.0\" ; Q=0.5, text/plain; q=0.4", OpenMetrics),
            (";;;,,=,;q=,q", Text004),
        ] {
            assert_eq!(accepts(Some(header)), want, "{header}");
        }
    }

    #[test]
    fn gzip_is_used_only_where_it_is_accepted() {
        for (header, want) in [
            (Some("gzip"), true),
            (Some("deflate, GZIP;q=0.5"), true),
            (Some("*"), true),
            (Some("gzip;q=0, *"), false),
            (Some("identity"), false),
            (Some(""), false),
            (None, false),
        ] {
            assert_eq!(accepts_gzip(header), want, "{header:?}");
        }
    }
}
