//! `/api/v1/`: the description for people, without scripts.

use std::fmt::Write as _;

use utoipa::openapi::path::{Operation, Parameter};
use utoipa::openapi::{OpenApi, Required};

use crate::access::escape;

/// Every route and what it takes, as a page.
pub(super) fn render(description: &OpenApi) -> String {
    let mut body = String::new();
    for (path, item) in &description.paths.paths {
        let methods = [("GET", &item.get), ("POST", &item.post), ("PUT", &item.put), ("DELETE", &item.delete)];
        for (method, operation) in methods {
            if let Some(operation) = operation {
                section(&mut body, method, path, operation);
            }
        }
    }
    let info = &description.info;
    format!(
        r#"<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title} – API</title>
<link rel="stylesheet" href="/web/assets/style.css">
</head>
<body class="api">
<main>
<h1>{title}, version {version}</h1>
<p>{about} For programs: <a href="/api/v1/openapi.json">openapi.json</a>. A token is shown as <code>Authorization: Bearer …</code>.</p>
{body}</main>
</body>
</html>
"#,
        title = escape(&info.title),
        version = escape(&info.version),
        about = escape(info.description.as_deref().unwrap_or_default()),
    )
}

fn section(body: &mut String, method: &str, path: &str, operation: &Operation) {
    let about = operation.summary.as_deref().unwrap_or_default();
    let _never = writeln!(body, "<h2>{method} <code>{}</code></h2>\n<p>{}</p>", escape(path), escape(about));
    let parameters = operation.parameters.as_deref().unwrap_or_default();
    if parameters.is_empty() {
        return;
    }
    body.push_str("<table>\n<tr><th>Parameter</th><th>Meaning</th></tr>\n");
    for parameter in parameters {
        let Parameter { name, description, required, .. } = parameter;
        let about = escape(description.as_deref().unwrap_or_default());
        let required = if *required == Required::True { ", required" } else { "" };
        let _never = writeln!(body, "<tr><td><code>{}</code>{required}</td><td>{about}</td></tr>", escape(name));
    }
    body.push_str("</table>\n");
}
