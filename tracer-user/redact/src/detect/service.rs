//! Keys without a form: what looks like nothing but a key is one where the name of a service that
//! issues keys stands before it, as in `chartmogul: a1b2…`. The name is looked for from the key,
//! because names of services are many and keys are few.

use std::ops::Range;

use super::{
    class::{self, ALNUM, DIGIT, JOINER, LETTER, SPACE},
    looks::{is_digest, is_uuid, looks_random, names_something_else},
};

/// Services whose keys have no form of their own, or had none once; sorted.
#[rustfmt::skip]
static SERVICES: [&str; 219] = [
    "abuseipdb", "accuweather", "adafruit", "adobe", "airbrake", "airtable", "alchemy", "algolia", "amplitude", "anyscale", "apify", "appcues", "appveyor", "asana", "assemblyai", "auth0", "aviationstack", "axiom",
    "azure", "beamer", "binance", "bitbucket", "bitfinex", "bitly", "bitmex", "blynk", "box", "braintree", "brave", "bugsnag", "buildkite", "calendly", "chartmogul", "checkout", "circleci", "clearbit",
    "clickup", "clockify", "cloudflare", "cloudinary", "codacy", "codeclimate", "codecov", "cohere", "coinbase", "coinmarketcap", "confluent", "contentful", "courier", "coveralls", "currencylayer", "customerio", "datadog", "deepgram",
    "deepl", "deepseek", "discord", "docusign", "drone", "dropbox", "dynatrace", "elevenlabs", "etherscan", "etsy", "eventbrite", "fastly", "finicity", "finnhub", "firebase", "fireworks", "fixer", "flickr",
    "foursquare", "freshbooks", "freshdesk", "gemini", "geocode", "giphy", "gitter", "grafana", "gumroad", "harvest", "helpscout", "heroku", "honeybadger", "honeycomb", "hubspot", "hunter", "infracost", "infura",
    "instagram", "intercom", "ipinfo", "ipstack", "jenkins", "jfrog", "jira", "jotform", "kickbox", "klaviyo", "kraken", "kucoin", "launchdarkly", "linear", "linkedin", "linode", "lob", "logdna",
    "loggly", "mailchimp", "mailgun", "mailjet", "mandrill", "mapbox", "mattermost", "messagebird", "mistral", "mixpanel", "moesif", "monday", "moralis", "netlify", "newrelic", "newsapi", "ngrok", "nightfall",
    "npm", "nylas", "okta", "onelogin", "onesignal", "openai", "opencage", "openweather", "openweathermap", "opsgenie", "pagerduty", "paypal", "paystack", "pepipost", "pinecone", "pipedrive", "pivotaltracker", "plaid",
    "planetscale", "plivo", "postman", "postmark", "pubnub", "pusher", "quickbase", "rapidapi", "readme", "replicate", "rollbar", "runpod", "salesforce", "scalr", "scrapingbee", "segment", "sendbird", "sendgrid",
    "sendinblue", "sentry", "serpapi", "shodan", "shopify", "shortcut", "signalwire", "slack", "smartsheet", "snyk", "sonarcloud", "sonarqube", "sourcegraph", "splunk", "spotify", "square", "squarespace", "stackhawk",
    "statuspage", "stripe", "sumologic", "supabase", "telegram", "telnyx", "terraform", "todoist", "together", "travis", "trello", "twilio", "twitch", "twitter", "typeform", "unsplash", "uptimerobot", "userstack",
    "vercel", "virustotal", "vonage", "vultr", "wakatime", "weatherbit", "weatherstack", "webex", "webflow", "wepay", "wistia", "wolfram", "wrike", "xendit", "yelp", "youtube", "zapier", "zendesk",
    "zerotier", "zoho", "zoom",
];

/// The shortest key.
const MIN: usize = 16;
/// The longest name of a service.
const LONGEST: usize = 16;
/// How far before a key the service's name may stand.
const BEFORE: usize = 48;

/// The key that the run of letters and digits from `start` to `end` is or begins.
pub(crate) fn key(text: &[u8], start: usize, end: usize) -> Option<Range<usize>> {
    // A UUID's first group is shorter than any key.
    let is_group = end - start == 8 && text.get(end) == Some(&b'-');
    if end - start < MIN && !is_group {
        return None;
    }
    // The name first: few runs have one before them.
    let is_joined = named(text, start)?;
    let is_part = |byte: &u8| class::is(*byte, ALNUM | JOINER) || b"+/=.".contains(byte);
    let mut length = text[start..]
        .iter()
        .take(256)
        .take_while(|byte| is_part(byte))
        .count();
    while text[start + length - 1] == b'.' {
        length -= 1;
    }
    let value = &text[start..start + length];
    let has = |classes: u8| value.iter().any(|byte| class::is(*byte, classes));
    let is_id = is_uuid(value);
    let is_key = length >= MIN && has(LETTER) && has(DIGIT) && (is_id || looks_random(value));
    // A digest of lower-case hexadecimal digits is a key only behind a sign, and so is a UUID.
    (is_key && ((!is_id && !is_digest(value)) || is_joined)).then(|| start..start + length)
}

/// Whether a service is named before the value at `start`, and a sign of assignment stands between.
fn named(text: &[u8], start: usize) -> Option<bool> {
    let floor = start.saturating_sub(BEFORE);
    let before = &text[floor..start];
    let line = before
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(before, |end| &before[end + 1..]);
    let is_joint = |byte: &u8| class::is(*byte, SPACE) || b"\"'`=:>,(".contains(byte);
    let name_end = line.iter().rposition(|byte| !is_joint(byte))? + 1;
    let joint = &line[name_end..];
    let name = &line[..name_end];
    if joint.is_empty() || joint.len() > 8 {
        return None;
    }
    let mut words = name
        .rsplit(|byte| !class::is(*byte, ALNUM))
        .filter(|word| !word.is_empty())
        .take(4);
    let last = words.clone().next()?;
    let is_named = words.any(|word| {
        let mut lower = [0; LONGEST];
        let Some(lower) = lower.get_mut(..word.len()) else {
            return false;
        };
        lower.copy_from_slice(word);
        lower.make_ascii_lowercase();
        SERVICES
            .binary_search_by(|service| service.as_bytes().cmp(lower))
            .is_ok()
    });
    // `slack_channel_id: …`: an id, not a key; `sha`, `commit` and `digest` say so too.
    let says_other = names_something_else(last)
        || [
            &b"commit"[..],
            b"sha",
            b"sha256",
            b"md5",
            b"rev",
            b"checksum",
            b"etag",
        ]
        .into_iter()
        .any(|other| last.eq_ignore_ascii_case(other));
    let is_joined = joint.iter().any(|byte| b"=:>".contains(byte));
    (is_named && !says_other).then_some(is_joined)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Option<&str> {
        let digit = text
            .find(|c: char| c.is_ascii_digit())
            .expect("the case has a digit");
        let start = class::run_start(text.as_bytes(), digit, ALNUM);
        let end = class::run_end(text.as_bytes(), digit, ALNUM);
        key(text.as_bytes(), start, end).map(|range| &text[range])
    }

    #[test]
    fn a_key_behind_a_services_name_is_found() {
        let key = "a1b2c3d4e5f6g7h8i9j0k1l2";
        for text in [
            format!("chartmogul {key}"),
            format!("SOURCEGRAPH_URL_KEY={key}"),
            format!("the pepipost one: {key}."),
        ] {
            assert_eq!(found(&text), Some(key), "{text}");
        }
        let id = "f59dffd2-83ea-47c7-ba8f-95e053a6d0ae";
        assert_eq!(found(&format!("postmark: \"{id}\"")), Some(id));
    }

    #[test]
    fn ids_digests_and_other_names_are_left() {
        for text in [
            "a chart a1b2c3d4e5f6g7h8i9j0k1l2",
            "slack_channel_id: a1b2c3d4e5f6g7h8i9j0k1l2",
            "drone commit: 9a038989604e8da62ecddbe2094b16ce1b778be1",
            "sentry f59dffd2-83ea-47c7-ba8f-95e053a6d0ae",
        ] {
            assert_eq!(found(text), None, "{text}");
        }
    }

    #[test]
    fn the_services_are_sorted() {
        assert!(SERVICES.is_sorted());
        assert!(
            SERVICES
                .iter()
                .all(|name| name.bytes().all(|b| class::is(b, class::LOWER | DIGIT)))
        );
    }
}
