//! What pahole says of the members of structs and unions.

/// A struct or union that is open, with its members so far.
type Open = Vec<(String, u64, Option<u64>)>;

/// The members of all structs and unions with a name, those of anonymous ones in them included:
/// `STRUCT.MEMBER: OFFSET BITS`, the offset in bits.
pub(crate) fn members(printed: &str) -> Vec<String> {
    let mut facts = Vec::new();
    let mut name = "";
    let mut open: Vec<Open> = Vec::new();
    for line in printed.lines() {
        let (code, place) = line.split_once("/*").unwrap_or((line, ""));
        let code = code.trim();
        let opens = code.ends_with('{');
        if opens && !line.starts_with('\t') {
            name = code.split(' ').nth(1).unwrap_or("");
            open = vec![Open::new()];
        } else if opens {
            open.push(Open::new());
        } else if line.starts_with('}') {
            let all = open.pop().unwrap_or_default();
            facts.extend(
                all.into_iter()
                    .map(|(member, at, bits)| format!("{name}.{member}: {at} {bits:?}")),
            );
        } else if let Some(rest) = code.strip_prefix('}') {
            let inner = open.pop().unwrap_or_default();
            let Some(outer) = open.last_mut() else {
                continue;
            };
            match declared(rest).zip(offset(place)) {
                Some(((member, bits), at)) => outer.push((member, at, bits)),
                None => outer.extend(inner),
            }
        } else if let Some(outer) = open.last_mut()
            && let Some(((member, bits), at)) = declared(code).zip(offset(place))
        {
            outer.push((member, at, bits));
        }
    }
    facts
}

/// The name of what is declared, and the bits of a bitfield.
fn declared(code: &str) -> Option<(String, Option<u64>)> {
    let code = code.strip_suffix(';')?;
    let code = without_attribute(code);
    let code = code.trim();
    let is_of_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    // A pointer to a function has its name within.
    let (name, rest) = if let Some((_, inner)) = code.split_once("(*") {
        let inner = inner.trim_start_matches([' ', '*']);
        let end = inner.find(|c| !is_of_name(c)).unwrap_or(inner.len());
        (&inner[..end], "")
    } else {
        let end = code.find(['[', ':']).unwrap_or(code.len());
        let start = code[..end].rfind(|c| !is_of_name(c)).map_or(0, |at| at + 1);
        (&code[start..end], &code[end..])
    };
    let bits = rest
        .strip_prefix(':')
        .and_then(|bits| bits.trim().parse().ok());
    (!name.is_empty()).then(|| (name.to_owned(), bits))
}

/// The same without `__attribute__((__aligned__(64)))`, which stands before or behind the name.
fn without_attribute(code: &str) -> String {
    let Some((before, rest)) = code.split_once("__attribute__") else {
        return code.to_owned();
    };
    let mut depth = 0;
    let end = rest.find(|c| {
        depth += i32::from(c == '(') - i32::from(c == ')');
        depth == 0
    });
    let behind = end.map_or("", |end| &rest[end + 1..]);
    without_attribute(&format!("{before}{behind}"))
}

/// `24: 3  4 */` in bits.
fn offset(place: &str) -> Option<u64> {
    let (byte, rest) = place.trim_start().split_once([' ', ':'])?;
    let is_bitfield = place.trim_start().as_bytes().get(byte.len()) == Some(&b':');
    let byte: u64 = byte.parse().ok()?;
    let bit: u64 = if is_bitfield {
        rest.split_whitespace().next()?.parse().ok()?
    } else {
        0
    };
    Some(byte * 8 + bit)
}
