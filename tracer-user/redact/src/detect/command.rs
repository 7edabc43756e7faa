//! Secrets in the places that programs give them: options on a command line, SQL, connection
//! strings, calls.

use std::ops::Range;

use memchr::memmem;

use super::{
    class::{self, ALNUM, SPACE},
    looks::{is_code, is_placeholder},
};

/// How far a command's options are followed.
const MAX: usize = 512;

/// How a program takes a password.
struct Program {
    /// How it is called, with the blank behind it.
    names: &'static [&'static str],
    /// The option that the password follows.
    option: &'static str,
    takes: Takes,
    /// The option that the user's name follows, which goes with the password.
    user: &'static str,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Takes {
    /// The next word.
    Next,
    /// What is glued to it: after a blank stands something else.
    Glued,
    /// The first word that is no option, or stands behind a digit that says how it is written.
    Free,
    /// The second word, behind the user's name.
    Second,
    /// The word beside the option with the user's name.
    BesideUser,
    /// The last word, where an option has the letter in it.
    Last,
    /// What follows the sign in the word with the user's name: `user%password`, `user/password@host`.
    Behind(u8),
}

const fn program(
    names: &'static [&'static str],
    option: &'static str,
    takes: Takes,
    user: &'static str,
) -> Program {
    Program {
        names,
        option,
        takes,
        user,
    }
}

#[rustfmt::skip]
static PROGRAMS: &[Program] = &[
    program(&["mysql ", "mysqldump ", "mysqladmin ", "mysqlimport ", "mysqlcheck ", "mariadb ", "mariadb-dump ", "mycli "], "-p", Takes::Glued, "-u"),
    program(&["psexec", "psexec64", "winexe ", "crackmapexec ", "netexec ", "smbmap ", "evil-winrm "], "-p", Takes::Next, "-u"),
    program(&["mongo ", "mongosh ", "mongodump ", "mongorestore ", "mongoexport ", "mongoimport ", "docker login ", "podman login ", "skopeo login ", "helm registry login ", "oc login ", "cf login ", "rdesktop ", "nuxeo ", "arangosh ", "influx ", "cqlsh ", "kafka-configs "], "-p", Takes::Next, "-u"),
    program(&["sqlcmd ", "bcp ", "osql ", "isql ", "ipmitool ", "vncpasswd "], "-P", Takes::Next, "-U"),
    program(&["zip ", "unzip "], "-P", Takes::Next, ""),
    program(&["7z ", "7za ", "7zz ", "rar ", "unrar "], "-p", Takes::Glued, ""),
    program(&["redis-cli ", "snmpget ", "snmpwalk "], "-a", Takes::Next, ""),
    program(&["ldapsearch ", "ldapadd ", "ldapmodify ", "ldappasswd ", "ldapwhoami ", "ldapdelete "], "-w", Takes::Next, "-D"),
    program(&["sshpass "], "-p", Takes::Glued, ""),
    program(&["convertto-securestring ", "snmp-server community ", "tacacs-server key ", "radius-server key ", "isakmp key "], "", Takes::Free, ""),
    program(&["az login "], "-p", Takes::Next, "-u"),
    program(&["openssl enc "], "-k", Takes::Next, ""),
    program(&["net user "], "", Takes::Second, ""),
    program(&["net use "], "/user:", Takes::BesideUser, ""),
    program(&["sqlcmd ", "bcp ", "osql ", "isql "], "-P", Takes::Glued, "-U"),
    program(&["hydra ", "medusa ", "ncrack ", "wpscan ", "certutil ", "pscp ", "plink "], "-p", Takes::Next, "-l"),
    program(&["pscp ", "plink ", "psftp "], "-pw", Takes::Next, "-l"),
    program(&["xfreerdp ", "wfreerdp ", "mstsc "], "/p:", Takes::Glued, "/u:"),
    program(&["cmdkey "], "/pass:", Takes::Glued, ""),
    program(&["snmpget ", "snmpwalk ", "snmpset ", "snmpbulkwalk ", "snmptrap "], "-A", Takes::Next, ""),
    program(&["snmpget ", "snmpwalk ", "snmpset ", "snmpbulkwalk ", "snmptrap "], "-X", Takes::Next, ""),
    program(&["snmpget ", "snmpwalk ", "snmpset ", "snmpbulkwalk ", "snmptrap "], "-c", Takes::Next, ""),
    program(&["radius-server host ", "tacacs-server host ", "pre-shared-key address "], "key", Takes::Next, ""),
    program(&["key-string ", "masterauth ", "requirepass ", "rootpw "], "", Takes::Free, ""),
    program(&["add_user ", "change_password ", "wpa_passphrase "], "", Takes::Second, ""),
    program(&["message-digest-key ", "snmp-server user "], "md5", Takes::Next, ""),
    program(&["snmp-server user "], "sha", Takes::Next, ""),
    program(&["snmp-server user "], "128", Takes::Next, ""),
    program(&["privilege 15 "], "secret", Takes::Next, ""),
    program(&["ssh-keygen "], "-N", Takes::Next, ""),
    program(&["ssh-keygen "], "-P", Takes::Next, ""),
    program(&["signtool "], "/p", Takes::Next, ""),
    program(&["/v defaultpassword "], "/d", Takes::Next, ""),
    program(&["rclone obscure "], "", Takes::Free, ""),
    program(&["ncftp ", "ncftpput ", "ncftpget ", "az sql server create "], "-p", Takes::Next, "-u"),
    program(&["lftp "], "-u", Takes::Behind(b','), ""),
    program(&["htpasswd "], "b", Takes::Last, ""),
    program(&["smbclient ", "rpcclient ", "smbget "], "-U", Takes::Behind(b'%'), ""),
    program(&["sqlplus ", "sqlldr ", "expdp ", "impdp ", "connect ", "oracle:thin:", "rman target "], "", Takes::Behind(b'/'), ""),
];

/// Every name of a program that takes a password, and its place in the table.
pub(crate) fn names() -> impl Iterator<Item = (&'static str, u8)> {
    PROGRAMS.iter().enumerate().flat_map(|(place, program)| {
        let place = u8::try_from(place).expect("the table is short");
        program.names.iter().map(move |name| (*name, place))
    })
}

/// The password, and the user before or after it, on the command line of the program whose name
/// ends at `end`.
pub(crate) fn options(text: &[u8], end: usize, program: u8) -> Vec<Range<usize>> {
    let program = &PROGRAMS[usize::from(program)];
    let limit = text.len().min(end + MAX);
    let line = &text[..limit];
    let mut place = end;
    let (mut password, mut user) = (None, None);
    while let Some(word) = next_word(line, place) {
        let value = &text[word.clone()];
        let option = program.option.as_bytes();
        let is_free = |value: &[u8]| !value.is_empty() && value[0] != b'-';
        place = word.end;
        if program.takes == Takes::Free {
            if is_free(value) && value.len() > 1 {
                password = Some(word);
                break;
            }
        } else if program.takes == Takes::Second {
            password = next_word(line, place).filter(|next| !text[next.clone()].starts_with(b"/"));
            user = Some(word).filter(|_| password.is_some());
            break;
        } else if program.takes == Takes::Last {
            let is_told = value.starts_with(b"-") && value.contains(&option[0]);
            (password, user) = (last_word(line, place).filter(|_| is_told), None);
            break;
        } else if let Takes::Behind(sign) = program.takes {
            (user, password) = halves(text, unquoted(text, word), sign).unzip();
            if password.is_some() || (sign == b'/' && is_free(value)) {
                break;
            }
        } else if program.takes == Takes::BesideUser {
            let is_user =
                value.len() > option.len() && value[..option.len()].eq_ignore_ascii_case(option);
            if is_user {
                user = Some(word.start + option.len()..word.end);
                password = next_word(line, place)
                    .filter(|next| !text[next.clone()].starts_with(b"/"))
                    .or(password);
                break;
            }
            // It may stand before the user as well, behind the share.
            let is_other = value.starts_with(b"\\") || value.starts_with(b"/");
            password = (!is_other && value.len() > 2).then_some(word);
        } else if value == option && (program.takes == Takes::Next || program.names == ["sshpass "])
        {
            password = next_word(line, place).filter(|next| is_free(&text[next.clone()]));
            // `key 7 …`: a digit says how it is written.
            if let Some(digit) = password.clone().filter(|next| next.len() == 1) {
                password = next_word(line, digit.end);
            }
        } else if program.takes == Takes::Glued
            && value.len() > option.len()
            && value.starts_with(option)
            // `-port=3306` is another option.
            && !value[option.len()..].starts_with(b"rot")
            && !value[option.len()..].starts_with(b"ort")
            // `-Password`, which says its own name.
            && !value[option.len()..].starts_with(b"assw")
        {
            password = Some(word.start + option.len()..word.end);
        } else if !program.user.is_empty() && value == program.user.as_bytes() {
            user = next_word(line, place).filter(|next| is_free(&text[next.clone()]));
        }
        if password.is_some() && user.is_some() {
            break;
        }
    }
    let needs_user = program.takes == Takes::BesideUser;
    let password = password
        .filter(|_| user.is_some() || !needs_user)
        .map(|range| unquoted(text, range))
        .filter(|range| is_value(&text[range.clone()]));
    match password {
        Some(password) => {
            let user = user
                .map(|range| unquoted(text, range))
                .filter(|range| is_user(&text[range.clone()]));
            [Some(password), user].into_iter().flatten().collect()
        }
        None => Vec::new(),
    }
}

/// The last of several words.
fn last_word(line: &[u8], from: usize) -> Option<Range<usize>> {
    let mut words = Vec::new();
    let mut place = from;
    while let Some(word) = next_word(line, place) {
        place = word.end;
        words.push(word);
    }
    words.pop().filter(|_| !words.is_empty())
}

/// The user's name and the password of `user%password` or `user/password@host`.
fn halves(text: &[u8], word: Range<usize>, sign: u8) -> Option<(Range<usize>, Range<usize>)> {
    let value = &text[word.clone()];
    let at = value.iter().position(|byte| *byte == sign)?;
    let rest = &value[at + 1..];
    let end = match sign {
        // A path has no `@` behind its first slash.
        b'/' => rest
            .iter()
            .rposition(|byte| *byte == b'@')
            .filter(|end| !rest[..*end].contains(&b'/'))?,
        _ => rest.len(),
    };
    let is_pair = at >= 2 && end >= 3 && is_user(&value[..at]);
    is_pair.then(|| {
        (
            word.start..word.start + at,
            word.start + at + 1..word.start + at + 1 + end,
        )
    })
}

/// A word of a shell's line: quotes hold blanks together, an operator or a line's end closes it.
fn next_word(line: &[u8], from: usize) -> Option<Range<usize>> {
    let mut start = from;
    // A continued line goes on.
    while let Some(byte) = line.get(start) {
        let is_continued = *byte == b'\\' && line.get(start + 1) == Some(&b'\n');
        match byte {
            b' ' | b'\t' => start += 1,
            _ if is_continued => start += 2,
            _ => break,
        }
    }
    let mut end = start;
    let mut quote = None;
    while let Some(byte) = line.get(end) {
        match (quote, *byte) {
            (_, b'\n') => break,
            (Some(open), byte) if open == byte => quote = None,
            (Some(_), _) => {}
            (None, b'"' | b'\'') => quote = Some(*byte),
            (None, byte) if class::is(byte, SPACE) || b"|;&<>".contains(&byte) => break,
            (None, _) => {}
        }
        end += 1;
    }
    (end > start).then_some(start..end)
}

fn unquoted(text: &[u8], range: Range<usize>) -> Range<usize> {
    let mut range = range;
    while range.len() > 1 && b"\"'=\\".contains(&text[range.start]) {
        range.start += 1;
    }
    while range.len() > 1 && b"\"',`)\\".contains(&text[range.end - 1]) {
        range.end -= 1;
    }
    range
}

fn is_value(value: &[u8]) -> bool {
    value.len() >= 3
        && !is_placeholder(value)
        && value[0] != b'$'
        && !value.eq_ignore_ascii_case(b"password")
        && !is_code(value, false)
}

pub(crate) fn is_user(value: &[u8]) -> bool {
    let is_name = |byte: &u8| class::is(*byte, ALNUM) || b"_-.@\\^".contains(byte);
    value.len() >= 2 && value.iter().all(is_name)
}

/// What follows `IDENTIFIED WITH plugin`: `BY 'password'` or `AS 'hash'`.
pub(crate) fn identified(text: &[u8], end: usize) -> Option<Range<usize>> {
    let rest = &text[end..text.len().min(end + 96)];
    let lower = rest.to_ascii_lowercase();
    let link = memmem::find(&lower, b" by ").or_else(|| memmem::find(&lower, b" as "))?;
    let start = end + link + 4;
    let quote = *text.get(start)?;
    if quote != b'\'' && quote != b'"' {
        return None;
    }
    let value = &text[start + 1..text.len().min(start + 257)];
    let length = value.iter().position(|byte| *byte == quote)?;
    (length >= 3 && !is_placeholder(&value[..length])).then(|| start + 1..start + 1 + length)
}

/// What is piped into the program that takes a password from there, whose name begins at `word`:
/// `echo '…' | sudo -S`, `echo user:… | chpasswd`.
pub(crate) fn piped(text: &[u8], word: usize) -> Option<Range<usize>> {
    const LONGEST: usize = 160;
    let floor = word.saturating_sub(LONGEST);
    let line = &text[floor..word];
    let line = line
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(floor, |end| floor + end + 1);
    let pipe = line + text[line..word].iter().rposition(|byte| *byte == b'|')?;
    let said = [&b"echo "[..], b"printf "]
        .into_iter()
        .find_map(|command| {
            Some(line + memmem::rfind(&text[line..pipe], command)? + command.len())
        })?;
    let mut place = said;
    let value = loop {
        let value = next_word(&text[..pipe], place)?;
        if !text[value.clone()].starts_with(b"-") {
            break unquoted(text, value);
        }
        place = value.end;
    };
    let is_last = text[value.end..pipe]
        .iter()
        .all(|byte| b" \"'".contains(byte));
    (is_last && is_value(&text[value.clone()])).then_some(value)
}

/// User and password before the host of a data source's name in Go: `user:password@tcp(`.
pub(crate) fn before_host(text: &[u8], at: usize) -> Option<Range<usize>> {
    const LONGEST: usize = 128;
    let floor = at.saturating_sub(LONGEST);
    let is_outside = |byte: &u8| class::is(*byte, SPACE) || b"\"'`/=".contains(byte);
    let start = text[floor..at]
        .iter()
        .rposition(is_outside)
        .map_or(floor, |place| floor + place + 1);
    let colon = start + text[start..at].iter().position(|byte| *byte == b':')?;
    (is_user(&text[start..colon]) && is_value(&text[colon + 1..at])).then_some(start..at)
}

/// Both arguments of `NetworkCredential("user", "password")` and its kin, whose name ends at `end`, behind
/// so many others.
pub(crate) fn called_with(text: &[u8], end: usize, others: u8) -> Vec<Range<usize>> {
    let values = arguments(text, end, others, 2);
    let is_real = values
        .last()
        .is_some_and(|range| values.len() == 2 && is_value(&text[range.clone()]));
    if is_real { values } else { Vec::new() }
}

/// The key that `createHmac("sha256", "key")` is given behind so many other arguments.
pub(crate) fn keyed_with(text: &[u8], end: usize, others: u8) -> Option<Range<usize>> {
    let values = arguments(text, end, others, 1);
    let range = values.into_iter().next()?;
    (range.len() >= 6 && is_value(&text[range.clone()])).then_some(range)
}

/// The quoted arguments of a call behind so many others of any kind.
fn arguments(text: &[u8], end: usize, others: u8, wanted: usize) -> Vec<Range<usize>> {
    const LONGEST: usize = 160;
    let blanks = |place: usize| {
        let rest = text[place.min(text.len())..].iter().take(8);
        place + rest.take_while(|byte| class::is(**byte, SPACE)).count()
    };
    let mut values = Vec::new();
    let mut place = blanks(end);
    if text.get(place) != Some(&b'(') {
        return values;
    }
    place += 1;
    for _ in 0..others {
        let rest = &text[place..text.len().min(place + LONGEST)];
        let Some(comma) = rest
            .iter()
            .position(|byte| matches!(byte, b',' | b';' | b'\n'))
        else {
            return values;
        };
        if rest[comma] != b',' {
            return values;
        }
        place += comma + 1;
    }
    while values.len() < wanted {
        place = blanks(place);
        // Python's bytes.
        place += usize::from(matches!(text.get(place..place + 2), Some(b"b'" | b"b\"")));
        let Some(quote) = text.get(place).filter(|byte| b"\"'".contains(byte)) else {
            break;
        };
        let value = &text[place + 1..text.len().min(place + 257)];
        let Some(length) = value.iter().position(|byte| byte == quote) else {
            break;
        };
        values.push(place + 1..place + 1 + length);
        place = blanks(place + length + 2);
        if text.get(place) != Some(&b',') {
            break;
        }
        place += 1;
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(text: &str) -> Vec<&str> {
        let (name, program) = names()
            .find(|(name, _)| text.starts_with(name))
            .expect("the case begins with a program");
        options(text.as_bytes(), name.len(), program)
            .into_iter()
            .map(|range| &text[range])
            .collect()
    }

    #[test]
    fn passwords_stand_where_each_program_takes_them() {
        assert_eq!(values("mysql -u root -ps3cr3t shop"), ["s3cr3t", "root"]);
        assert_eq!(values("mysql -uroot -p'a b' shop"), ["a b"]);
        assert_eq!(
            values("psexec \\\\10.0.0.1 -u Administrator -p dev_admin cmd"),
            ["dev_admin", "Administrator"]
        );
        assert_eq!(
            values("docker login -u ann -p hunter2 r.example"),
            ["hunter2", "ann"]
        );
        assert_eq!(values("redis-cli -h h -a Tr0ub4dor ping"), ["Tr0ub4dor"]);
        assert_eq!(
            values("sqlcmd -S srv -U sa \\\n -P 'Passw0rd!'"),
            ["Passw0rd!", "sa"]
        );
        assert_eq!(values("sshpass -p hunter2 ssh h"), ["hunter2"]);
        assert_eq!(values("net user bob N3wPw!x /add"), ["N3wPw!x", "bob"]);
        assert_eq!(
            values("net use Z: \\\\srv\\share /user:bob Sh4re!x"),
            ["Sh4re!x", "bob"]
        );
        assert_eq!(
            values("net use Z: \\\\srv\\share Sh4re!x /user:bob"),
            ["Sh4re!x", "bob"]
        );
        assert_eq!(values("tacacs-server key 7 tac4csKey"), ["tac4csKey"]);
        assert_eq!(values("htpasswd -bB .users ann h4sh3dPw"), ["h4sh3dPw"]);
        assert_eq!(values("smbclient //h/s -U ann%sh4rePw"), ["sh4rePw", "ann"]);
        assert_eq!(values("sqlplus scott/t1gerPw@db"), ["t1gerPw", "scott"]);
        assert_eq!(values("lftp -u ann,ftp4ann sftp://h"), ["ftp4ann", "ann"]);
        assert_eq!(values("radius-server host h key 7 0Ab4Cd"), ["0Ab4Cd"]);
    }

    #[test]
    fn without_a_password_nothing_is_found() {
        for text in [
            "mysql -u root -p shop",
            "mysql --port=3306 -port 1",
            "mysql -u root -p$PASSWORD",
            "docker login -u ann -p $TOKEN",
            "zip -r out.zip folder",
            "net user bob /delete",
            "net use Z: \\\\srv\\share /delete",
            "psexec \\\\h -u User -p %nothing% cmd",
            "htpasswd -c .users ann",
            "smbclient //h/s -U ann",
            "connect path/to/x@2.0",
        ] {
            assert_eq!(values(text), Vec::<&str>::new(), "{text}");
        }
    }

    #[test]
    fn sql_and_calls_name_passwords() {
        let text = "CREATE USER a IDENTIFIED WITH mysql_native_password BY 'SqLpa5s';";
        let end = text.find(" mysql").expect("it is there");
        assert_eq!(
            identified(text.as_bytes(), end).map(|range| &text[range]),
            Some("SqLpa5s")
        );
        let text = "NetworkCredential(\"ci\", \"AP7Ja\");";
        let found: Vec<_> = called_with(text.as_bytes(), 17, 0)
            .into_iter()
            .map(|range| &text[range])
            .collect();
        assert_eq!(found, ["ci", "AP7Ja"]);
    }

    #[test]
    fn what_is_piped_or_stands_before_a_host_is_found() {
        let found = |text: &'static str, word: &str| {
            let start = text.find(word).expect("the case has the word");
            piped(text.as_bytes(), start).map(|range| &text[range])
        };
        assert_eq!(
            found("echo -n 'p1pedPw' | sudo -S ls", "sudo"),
            Some("p1pedPw")
        );
        assert_eq!(
            found("echo ann:n3wPw | chpasswd", "chpasswd"),
            Some("ann:n3wPw")
        );
        assert_eq!(found("echo $PW | sudo -S ls", "sudo"), None);
        assert_eq!(found("cat f | sudo -S ls", "sudo"), None);
        let name = "ann:g0Pw@tcp(h:1)/d";
        assert_eq!(before_host(name.as_bytes(), 8), Some(0..8));
        assert_eq!(before_host(b"ann@tcp(h)", 3), None);
    }

    #[test]
    fn calls_take_keys_and_passwords_behind_other_arguments() {
        let found = |text: &'static str, name: usize, others| {
            let values = called_with(text.as_bytes(), name, others).into_iter();
            values.map(|range| &text[range]).collect::<Vec<_>>()
        };
        let call = "mysqli_connect(\"h\", \"root\", \"R00tPw!\", \"shop\")";
        assert_eq!(found(call, 14, 1), ["root", "R00tPw!"]);
        assert_eq!(found("login(user, password)", 5, 0), Vec::<&str>::new());
        let call = "createHmac('sha256', 'h4shKey-99x')";
        let key = keyed_with(call.as_bytes(), 10, 1);
        assert_eq!(key.map(|range| &call[range]), Some("h4shKey-99x"));
        assert_eq!(keyed_with(b"createHmac('sha256', key)", 10, 1), None);
    }
}
