// What the search box asks for, and where a text has it. Words are whole words; run* is every word that begins so;
// "two dogs" are words that follow one another. A text that is found shows its matches marked.

const LETTERS = "\\p{L}\\p{N}";

/** A pattern for each word or quoted phrase, all of which are wanted. */
function patternsOf(query) {
  const parts = query.replace(/[“”„]/gu, '"').match(/"[^"]+"?|[^\s,"]+/gu) || [];
  return parts.flatMap((part) => {
    const words = part.match(new RegExp(`[${LETTERS}'’-]+\\*?`, "gu")) || [];
    const each = words.map((word) => (word.endsWith("*") ? `${word.slice(0, -1)}[${LETTERS}'’-]*` : word));
    return each.length ? [new RegExp(`(?<![${LETTERS}])${each.join(`[^${LETTERS}]+`)}(?![${LETTERS}])`, "giu")] : [];
  });
}

/** [[start, end], ...] of all that the patterns match, in order, none overlapping. */
function matches(text, patterns) {
  const found = patterns.flatMap((pattern) => [...text.matchAll(pattern)].map((one) => [one.index, one.index + one[0].length]));
  found.sort((a, b) => a[0] - b[0]);
  return found.reduce((kept, [start, end]) => {
    const last = kept[kept.length - 1];
    if (last && start <= last[1]) last[1] = Math.max(last[1], end);
    else kept.push([start, end]);
    return kept;
  }, []);
}

/** Text and marks for a piece of a text that begins at `from`, where `found` is of the whole text. */
function marked(piece, found, from = 0) {
  const parts = [];
  let at = 0;
  for (const [start, end] of found) {
    const [low, high] = [Math.max(at, start - from), Math.min(piece.length, end - from)];
    if (low >= high) continue;
    parts.push(piece.slice(at, low), el("mark", {}, piece.slice(low, high)));
    at = high;
  }
  return [...parts, piece.slice(at)].filter((part) => part !== "");
}
