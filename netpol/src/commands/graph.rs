//! Graphs, in Graphviz's language and as images without Graphviz.

use std::io;

use layout::backends::svg::SVGWriter;
use layout::gv::{DotParser, GraphBuilder};
use netpol::connectivity::ListedEnd;

/// What a graph begins with: it reads from left to right.
pub(super) const HEAD: &str = "digraph {\n  rankdir=LR\n  node [shape=box]\n";

/// What it ends with.
pub(super) const FOOT: &str = "}\n";

/// One edge, a line. No name holds a quote.
pub(super) fn edge(source: &ListedEnd, destination: &ListedEnd, attributes: &str) -> String {
    format!("  \"{source}\" -> \"{destination}\" [{attributes}]")
}

/// More edges than this nobody sees through, and the layout takes minutes.
const MOST_EDGES: usize = 500;

/// The image of a graph in Graphviz's language.
pub(super) fn svg(dot: &str) -> io::Result<String> {
    let edges = dot.lines().filter(|line| line.contains(" -> ")).count();
    if edges > MOST_EDGES {
        return Err(io::Error::other(format!(
            "a graph of {edges} pairs is more than can be drawn ({MOST_EDGES}): choose some with --from or --to, or \
             take -o dot"
        )));
    }
    let graph = DotParser::new(dot).process().map_err(io::Error::other)?;
    let mut builder = GraphBuilder::new();
    builder.visit_graph(&graph);
    let mut image = SVGWriter::new();
    builder.get().do_it(false, false, false, &mut image);
    Ok(image.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_graph_is_drawn_and_one_that_is_too_large_is_not() {
        let image = svg("digraph {\n  rankdir=LR\n  \"a/b[Pod]\" -> \"c\" [label=\"TCP 80\"]\n}\n");
        let image = image.unwrap();
        assert!(
            image.starts_with("<?xml") && image.contains("a/b[Pod]") && image.contains("TCP 80")
        );
        let many = format!("digraph {{\n{}}}\n", "  a -> b\n".repeat(MOST_EDGES + 1));
        assert!(svg(&many).unwrap_err().to_string().contains("--from"));
    }
}
