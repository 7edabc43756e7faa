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
static SERVICES: [&str; 696] = [
    "abuseipdb", "accuweather", "adafruit", "adobe", "agora", "aha", "airbrake", "airship", "airtable", "airvisual", "aiven", "alchemy", "alconost", "alegra", "algolia", "alienvault", "amadeus",
    "ambee", "amplitude", "anypoint", "anyscale", "apacta", "apideck", "apiflash", "apifonica", "apify", "apilayer", "apimatic", "apimetrics", "apitemplate", "apollo", "appcues", "appfollow",
    "appointedd", "appoptics", "apptivo", "appveyor", "artifactory", "artsy", "asana", "assemblyai", "atera", "audd", "auth0", "autodesk", "autoklose", "aviationstack", "axiom", "aylien",
    "ayrshare", "azure", "baidu", "bannerbear", "baremetrics", "beamer", "beebole", "besttime", "billomat", "binance", "bitbar", "bitbucket", "bitcoinaverage", "bitfinex", "bitly", "bitmex",
    "blazemeter", "blocknative", "blynk", "bombbomb", "borgbase", "box", "braintree", "brandfetch", "brave", "browserstack", "browshot", "bscscan", "buddyns", "budibase", "bugherd", "bugsnag",
    "buildkite", "bulksms", "buttercms", "caflou", "calendarific", "calendly", "calorieninja", "campayn", "cannyio", "capsulecrm", "captaindata", "carboninterface", "caspio", "censys",
    "chartmogul", "chatbot", "checkly", "checklyhq", "checkout", "circleci", "clarifai", "clearbit", "clearsale", "clickhelp", "clicksend", "clickup", "cliengo", "clinchpad", "clockify",
    "clockworksms", "closecrm", "cloudconvert", "cloudelements", "cloudflare", "cloudimage", "cloudinary", "cloudmersive", "cloudplan", "cloudsmith", "cloverly", "cockroachdb", "codacy",
    "codeclimate", "codecov", "codemagic", "codequiry", "cohere", "coinapi", "coinbase", "coinlayer", "coinlib", "coinmarketcap", "commercejs", "confluent", "contentful", "convertapi",
    "convertkit", "countrylayer", "courier", "coveralls", "craftmypdf", "crowdin", "crowdstrike", "cryptocompare", "currencycloud", "currencyfreaks", "currencylayer", "currencyscoop",
    "currentsapi", "customerguru", "customerio", "d7network", "dandelion", "dareboost", "databox", "databricks", "datadog", "datagov", "debounce", "deepai", "deepgram", "deepl", "deepseek",
    "delighted", "demio", "detectify", "detectlanguage", "dfuse", "diffbot", "diggernaut", "digicert", "digitalocean", "discord", "disqus", "dockerhub", "docparser", "documo", "docusign",
    "doppler", "dotdigital", "dovico", "dronahq", "drone", "droneci", "dropbox", "duply", "dwolla", "dynatrace", "dyspatch", "eagleeyenetworks", "easyinsight", "edamam", "edenai", "elasticemail",
    "elevenlabs", "enablex", "endorlabs", "etherscan", "ethplorer", "etsy", "eventbrite", "everhour", "exchangerate", "faceplusplus", "fastforex", "fastly", "feedier", "fetchrss", "fibery",
    "figma", "finage", "financialmodelingprep", "finicity", "finnhub", "firebase", "fireworks", "fixer", "fleetbase", "flexport", "flickr", "flightapi", "flightlabs", "flightstats",
    "flutterwave", "flyio", "formbucket", "formcraft", "formio", "formsite", "foursquare", "freshbooks", "freshdesk", "fullstory", "fusebill", "fxmarket", "geckoboard", "gemini", "gengo",
    "geoapify", "geocode", "geocodify", "geocodio", "getgeoapi", "getgist", "getresponse", "giphy", "gitguardian", "github", "gitlab", "gitter", "glassnode", "gocanvas", "gocardless", "godaddy",
    "grafana", "graphcms", "graphhopper", "groovehq", "groq", "gtmetrix", "gumroad", "guru", "happyscribe", "harvest", "hellosign", "helpcrunch", "helpscout", "hereapi", "heroku", "hiveage",
    "holidayapi", "honeybadger", "honeycomb", "hostinger", "html2pdf", "hubspot", "huggingface", "humanity", "hunter", "hypertrack", "iconfinder", "iexapis", "iexcloud", "imagekit", "imagga",
    "infracost", "infura", "insightly", "instabot", "instagram", "instamojo", "intercom", "interseller", "intrinio", "invoiceocean", "ip2location", "ipapi", "ipgeolocation", "ipify", "ipinfo",
    "ipinfodb", "ipquality", "ipstack", "jenkins", "jfrog", "jira", "jotform", "jumpcloud", "jupiterone", "keenio", "kickbox", "klaviyo", "klipfolio", "knapsackpro", "kontent", "kraken",
    "kucoin", "kylas", "lacework", "languagelayer", "larksuite", "launchdarkly", "leadfeeder", "lemlist", "lemonsqueezy", "lendflow", "lexigram", "linear", "linkedin", "linkpreview", "linode",
    "liveagent", "livekit", "livestorm", "loadmill", "lob", "locationiq", "logdna", "loggly", "loginradius", "logzio", "lokalise", "loyverse", "lunchmoney", "luno", "magicbell", "mailboxlayer",
    "mailchimp", "mailerlite", "mailgun", "mailjet", "mailmodo", "mailsac", "mailtrap", "mandrill", "mapbox", "mapquest", "marketstack", "mattermost", "mavenlink", "maxmind", "meaningcloud",
    "mediastack", "meistertask", "meraki", "mesibo", "messagebird", "metaapi", "metabase", "mindmeister", "miro", "mistral", "mixmax", "mixpanel", "mockaroo", "moesif", "monday", "monkeylearn",
    "moonclerk", "moosend", "moralis", "mux", "myfreshworks", "nasdaq", "nethunt", "netlify", "newrelic", "newsapi", "newscatcher", "nexmo", "nftport", "ngrok", "nicereply", "nightfall",
    "noticeable", "notion", "nozbe", "npm", "numverify", "nutritionix", "nylas", "oanda", "okta", "omnisend", "onedesk", "onelogin", "onepagecrm", "onesignal", "onfleet", "openai", "opencage",
    "openrouter", "openuv", "openvpn", "openweather", "openweathermap", "opsgenie", "optidash", "optimizely", "outlook", "overloop", "owlbot", "packagecloud", "paddle", "pagarme", "pagerduty",
    "pandadoc", "pandascore", "paperform", "parsehub", "parseur", "partnerstack", "pastebin", "paydirtapp", "paymoapp", "paymongo", "paypal", "paystack", "pdflayer", "pdfshift", "peopledatalabs",
    "pepipost", "percy", "perplexity", "phantombuster", "photoroom", "pinata", "pinecone", "pipedream", "pipedrive", "pivotaltracker", "pixabay", "plaid", "planetscale", "planyo", "plivo",
    "podio", "poloniex", "polygon", "portainer", "postageapp", "posthog", "postman", "postmark", "prefect", "prodpad", "proxycrawl", "pubnub", "pulumi", "pushbullet", "pusher", "pushover",
    "qase", "qualaroo", "qualtrics", "qubole", "quickbase", "rabbitmq", "railway", "rapidapi", "razorpay", "reachmail", "readme", "rebrandly", "recharge", "redislabs", "refiner", "rentman",
    "repairshopr", "replicate", "requestfinance", "restpack", "retellai", "ringcentral", "ritekit", "rocketreach", "rollbar", "route4me", "rubygems", "runpod", "runrunit", "salesblink",
    "salesflare", "salesforce", "salesloft", "salesmate", "saucelabs", "scaleway", "scalr", "scrapeowl", "scraperapi", "scraperbox", "scrapestack", "scrapfly", "scrapingant", "scrapingbee",
    "screenshotapi", "screenshotlayer", "scrutinizer", "securitytrails", "segment", "selectpdf", "semaphore", "sendbird", "sendgrid", "sendinblue", "sendpulse", "sentry", "serpapi", "serphouse",
    "serpstack", "sheety", "shipday", "shippo", "shodan", "shopify", "shortcut", "shotstack", "shutterstock", "signalwire", "sigopt", "simfin", "simplesat", "sinch", "sirv", "siteleaf", "slack",
    "smartling", "smartsheet", "smartsheets", "smartystreets", "smooch", "snipcart", "snowflake", "snyk", "sonarcloud", "sonarqube", "sourcegraph", "sparkpost", "speechtext", "splunk",
    "spoonacular", "sportradar", "sportsmonk", "spotify", "square", "squarespace", "squareup", "sslmate", "stackhawk", "statuscake", "statuspage", "statuspal", "stitchdata", "stockdata",
    "storecove", "stormboard", "stormglass", "storyblok", "storychief", "strava", "stripe", "stripo", "stytch", "sumologic", "supabase", "supernotes", "surveysparrow", "survicate", "swell",
    "swiftype", "tableau", "tailscale", "tallyfy", "tatum", "taxjar", "teamgate", "teamwork", "tefter", "telegram", "teletype", "telnyx", "tencent", "terraform", "testingbot", "textmagic",
    "theoddsapi", "thinkific", "thousandeyes", "ticketmaster", "tickettailor", "tiingo", "timecamp", "tines", "tmetric", "todoist", "together", "toggl", "tokeet", "tomtom", "tradier",
    "transferwise", "travelpayouts", "travis", "travisci", "trello", "twelvedata", "twilio", "twist", "twitch", "twitter", "tyntec", "typeform", "typetalk", "ubidots", "uclassify", "unsplash",
    "uplead", "uploadcare", "uptimerobot", "upwave", "urlscan", "userflow", "userstack", "vagrantcloud", "vatlayer", "vbout", "vercel", "veriphone", "virtru", "virustotal", "visualcrossing",
    "voiceflow", "vonage", "voodoosms", "vouchery", "vpnapi", "vultr", "wakatime", "walkscore", "watson", "weatherbit", "weatherstack", "webex", "webflow", "webscraper", "webscraping", "wepay",
    "whoxy", "wistia", "wiz", "wolfram", "worksnaps", "worldcoinindex", "wrike", "xata", "xendit", "yandex", "yelp", "youtube", "zapier", "zendesk", "zenrows", "zenscrape", "zenserp", "zeplin",
    "zerobounce", "zerotier", "zipcodeapi", "zipcodebase", "zoho", "zohocrm", "zoom", "zulip", "zuplo",
];

/// The shortest key.
const MIN: usize = 16;
/// The longest name of a service.
const LONGEST: usize = 24;
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
    let is_row = value
        .windows(5)
        .any(|five| five.iter().all(|byte| *byte == five[0]));
    let is_key =
        length >= MIN && has(LETTER) && has(DIGIT) && !is_row && (is_id || looks_random(value));
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
            b"trace",
            b"span",
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
