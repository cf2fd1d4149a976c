//! `/problems/{page}`: what a problem's `type` leads to.

use actix_web::{HttpResponse, get, http::header::ContentType, web::Data};
use utoipa::IntoParams;
use utoipa_actix_web::service_config::ServiceConfig;

use super::{Problem, ProblemType};
use crate::http::read::{Input, PathFields, ReadFields, Text};

/// The types of problems that have a page.
#[derive(Debug, Clone)]
pub struct ProblemTypes(pub Vec<&'static ProblemType>);

/// Adds the route.
pub(in crate::http) fn configure(app: &mut ServiceConfig<'_>) {
    app.service(get_problem_type);
}

/// The last segment of a page's path.
type PageName = Text<1, 64>;

#[derive(Debug, ReadFields, IntoParams)]
#[into_params(parameter_in = Path)]
struct PagePath {
    /// The last segment of a problem's `type`.
    #[param(inline, example = "invalid-field")]
    page: PageName,
}

impl PathFields for PagePath {}

/// What a type of problem means, and what to do about it: the page that a problem's `type` leads to.
#[utoipa::path(
    tag = "problems",
    params(Input<PagePath>),
    responses((status = 200, description = "A page for people.", content_type = "text/html", body = String)),
)]
#[get("/problems/{page}")]
async fn get_problem_type(
    input: Input<PagePath>,
    types: Data<ProblemTypes>,
) -> Result<HttpResponse, Problem> {
    let found = types.0.iter().find(|problem_type| problem_type.page() == *input.path.page);
    let problem_type = found.ok_or_else(Problem::no_path)?;
    Ok(HttpResponse::Ok().content_type(ContentType::html()).body(page(problem_type)))
}

fn page(problem_type: &ProblemType) -> String {
    let ProblemType { code, status, title, meaning, remedy } = problem_type;
    let (title, meaning, remedy) = (html(title), html(meaning), html(remedy));
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<title>{title}</title>\n\
         <style>body {{ font: 1.1rem/1.6 system-ui, sans-serif; max-width: 42rem; margin: 4rem auto; padding: 0 1rem }}</style>\n\
         <h1>{title}</h1>\n<p><code>{code}</code>, status {status}</p>\n\
         <h2>What it means</h2>\n<p>{meaning}</p>\n<h2>What to do</h2>\n<p>{remedy}</p>\n</html>\n"
    )
}

/// The text in HTML; what stands between backticks is code.
fn html(text: &str) -> String {
    let escaped = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let parts = escaped.split('`').enumerate();
    parts
        .map(|(index, part)| if index % 2 == 1 { format!("<code>{part}</code>") } else { part.to_owned() })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_becomes_html() {
        assert_eq!(html("a `b<c>` & d"), "a <code>b&lt;c&gt;</code> &amp; d");
    }
}
