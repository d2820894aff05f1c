//! The files that pages are made of.

use std::sync::LazyLock;

/// A file.
pub(super) struct Asset {
    /// Its path below `/web/assets`.
    pub(super) name: &'static str,
    /// What is in it.
    pub(super) text: &'static str,
    /// A strong ETag: a hash of the content.
    pub(super) tag: String,
}

impl Asset {
    /// Its media type.
    pub(super) fn form(&self) -> &'static str {
        match self.name.rsplit('.').next() {
            Some("html") => "text/html; charset=utf-8",
            Some("css") => "text/css; charset=utf-8",
            Some("js") => "text/javascript; charset=utf-8",
            Some("svg") => "image/svg+xml",
            _ => "text/plain; charset=utf-8",
        }
    }
}

macro_rules! files {
    ($($name:literal $(from $path:literal)?),* $(,)?) => { [$(($name, include_str!(files!(@ $name $($path)?)))),*] };
    (@ $name:literal) => { concat!("../../web/assets/", $name) };
    (@ $name:literal $path:literal) => { concat!("../../web/", $path) };
}

/// Every file.
pub(super) static ASSETS: LazyLock<Vec<Asset>> = LazyLock::new(|| {
    let tag = |text: &str| format!("\"{}\"", &blake3::hash(text.as_bytes()).to_hex()[..32]);
    FILES.into_iter().map(|(name, text)| Asset { name, text, tag: tag(text) }).collect()
});

const FILES: [(&str, &str); 26] = files![
    "address.js",
    "api.js",
    "chart.js",
    "dom.js",
    "figures.js",
    "heatmap.js",
    "icon.svg",
    "index.html",
    "main.js",
    "pages/accounting.js",
    "pages/agents.js",
    "pages/explore.js",
    "pages/namespace.js",
    "pages/node.js",
    "pages/overview.js",
    "pages/pod.js",
    "pages/status.js",
    "pages/vm.js",
    "panel.js",
    "style.css",
    "table.js",
    "theme.js",
    "toolbar.js",
    "units.js",
    "uplot.css" from "vendor/uPlot.min.css",
    "uplot.js" from "vendor/uPlot.esm.js",
];

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::*;

    fn files(folder: &Path) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
    }

    #[test]
    fn every_file_is_served() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("web/assets");
        let mut there: Vec<String> =
            files(&folder).iter().map(|path| path.strip_prefix(&folder).unwrap().display().to_string()).collect();
        there.extend(["uplot.css".to_owned(), "uplot.js".to_owned()]);
        there.sort();
        assert_eq!(there, ASSETS.iter().map(|asset| asset.name).collect::<Vec<_>>());
    }

    /// A name that is no metric's, entity's or attribute's would show nothing, for ever.
    #[test]
    fn pages_ask_for_what_the_catalogue_has() {
        use podscope_catalog::METRICS;
        let is_known = |name: &str| {
            let metric = METRICS.iter().any(|row| row.name == name || format!("{}.bucket", row.name) == name);
            let attribute = |row: &podscope_catalog::Metric| row.attributes.iter().any(|own| own.key == name);
            metric || METRICS.iter().any(|row| row.entity.labels().contains(&name) || attribute(row))
        };
        let mut looked_at = 0;
        for asset in ASSETS.iter().filter(|asset| asset.name.ends_with(".js") && asset.name != "uplot.js") {
            for name in asset.text.split('\'').skip(1).step_by(2).flat_map(|text| text.split(',')) {
                let of_ours =
                    ["podscope.", "k8s.", "container.", "process.", "system."].iter().any(|p| name.starts_with(p));
                // Not labels of pods, which others choose, and what is kept in the browser.
                if of_ours && !name.starts_with("k8s.pod.label.") && name != "podscope.theme" {
                    assert!(is_known(name), "{}: {name}", asset.name);
                    looked_at += 1;
                }
            }
        }
        assert!(looked_at > 60, "{looked_at}");
    }

    /// The content security policy would stop either; a page that has them shows nothing.
    #[test]
    fn no_script_or_style_is_within_a_page() {
        let page = ASSETS.iter().find(|asset| asset.name == "index.html").unwrap().text;
        assert!(!page.contains("style=") && !page.contains("<style") && !page.contains(" on"), "{page}");
        assert!(page.split("<script").skip(1).all(|rest| rest.split_once("></script>").is_some()), "{page}");
    }
}
