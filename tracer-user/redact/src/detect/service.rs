//! Keys without a form: what looks like nothing but a key is one where the name of a service that
//! issues keys stands before it, as in `chartmogul: a1b2…`. The name is looked for from the key,
//! because names of services are many and keys are few.

use std::ops::Range;

use super::{
    class::{self, ALNUM, BASE64, DIGIT, JOINER, LETTER, LOWER, SPACE, UPPER},
    looks::{is_digest, is_uuid, looks_random, names_something_else},
};

/// Services whose keys have no form of their own, or had none once; sorted.
#[rustfmt::skip]
static SERVICES: [&str; 881] = [
    "abuseipdb", "accuweather", "adafruit", "adobe", "agora", "aha", "airbrake", "airship", "airtable", "airvisual", "aiven", "alchemy", "alconost", "alegra", "algolia", "algoliasearch",
    "alienvault", "amadeus", "ambee", "amplitude", "anthropic", "anypoint", "anyscale", "apacta", "apideck", "apiflash", "apifonica", "apify", "apilayer", "apimatic", "apimetrics", "apitemplate",
    "apollo", "appcues", "appfollow", "appointedd", "appoptics", "apptivo", "appveyor", "appwrite", "arcgis", "artifacthub", "artifactory", "artsy", "asana", "assemblyai", "atera", "atlassian",
    "audd", "auth0", "authress", "autodesk", "autoklose", "avalara", "aviationstack", "axiom", "aylien", "ayrshare", "azure", "azuredevops", "baidu", "bannerbear", "baremetrics", "baseten",
    "beamer", "beebole", "besttime", "bettermode", "betterstack", "billomat", "binance", "bitbar", "bitbucket", "bitcoinaverage", "bitfinex", "bitly", "bitmex", "bitrise", "blazemeter",
    "blockfrost", "blocknative", "blynk", "bokun", "bombbomb", "borgbase", "box", "braintree", "brandfetch", "brave", "brevo", "browserless", "browserstack", "browshot", "bscscan", "buddyns",
    "budibase", "bugherd", "bugsnag", "buildkite", "bulksms", "bunnynet", "buttercms", "caflou", "calendarific", "calendly", "calorieninja", "campayn", "cannyio", "capsulecrm", "captaindata",
    "carboninterface", "cartesia", "caspio", "censys", "cerebras", "chargebee", "chargify", "chartmogul", "chatbot", "checkly", "checklyhq", "checkout", "checkr", "cin7", "circleci", "clarifai",
    "clearbit", "clearsale", "clevertap", "clickhelp", "clicksend", "clickup", "cliengo", "clinchpad", "clockify", "clockworksms", "closecrm", "cloudant", "cloudconvert", "cloudelements",
    "cloudflare", "cloudimage", "cloudinary", "cloudmersive", "cloudplan", "cloudsight", "cloudsmith", "cloverly", "cockroachdb", "codacy", "codeclimate", "codecov", "codemagic", "codequiry",
    "codeship", "cohere", "coinapi", "coinbase", "coinlayer", "coinlib", "coinmarketcap", "commercejs", "confluent", "contentful", "convertapi", "convertkit", "countrylayer", "courier",
    "coveralls", "craftmypdf", "cronitor", "crowdin", "crowdstrike", "cryptocompare", "currencycloud", "currencyfreaks", "currencylayer", "currencyscoop", "currentsapi", "customerguru",
    "customerio", "customgpt", "d7network", "dandelion", "dareboost", "dashscope", "databox", "databricks", "datadog", "datagov", "datarobot", "debounce", "deepai", "deepgram", "deepl",
    "deepseek", "delighted", "demio", "dependencytrack", "detectify", "detectlanguage", "deviantart", "dfuse", "dialpad", "diffbot", "diggernaut", "digicert", "digitalocean", "digitalriver",
    "discogs", "discord", "disqus", "dockerhub", "docparser", "documo", "docusign", "doordash", "doppler", "dotdigital", "dovico", "dronahq", "drone", "droneci", "dropbox", "duffel", "duply",
    "dwolla", "dynatrace", "dyspatch", "eagleeyenetworks", "easyinsight", "easypost", "easyship", "ecostruxureit", "edamam", "edenai", "egnyte", "elasticcloud", "elasticemail", "elevenlabs",
    "enablex", "endorlabs", "engagespot", "etherscan", "ethplorer", "etsy", "eventbrite", "everhour", "exaai", "exchangerate", "faceplusplus", "fastforex", "fastly", "feedier", "fetchrss",
    "fibery", "figma", "filestack", "fillout", "finage", "financialmodelingprep", "finicity", "finnhub", "firebase", "firecrawl", "fireworks", "fivetran", "fixer", "fleetbase", "flexport",
    "flickr", "flightapi", "flightlabs", "flightstats", "flutterwave", "flyio", "formbucket", "formcraft", "formio", "formsite", "foursquare", "frameio", "freshbooks", "freshdesk", "friendli",
    "frontegg", "fullstory", "fusebill", "fxmarket", "geckoboard", "gemini", "gengo", "geoapify", "geocode", "geocodify", "geocodio", "getemail", "getemails", "getgeoapi", "getgist",
    "getresponse", "giphy", "gitalk", "gitguardian", "github", "gitlab", "gitter", "gladia", "glassnode", "gocanvas", "gocardless", "godaddy", "grafana", "graphcms", "graphhopper", "groovehq",
    "groq", "gtmetrix", "gumroad", "guru", "hackerone", "hackmd", "happyscribe", "harvest", "hashnode", "hellosign", "helpcrunch", "helpscout", "hereapi", "heroku", "hightouch", "hiveage",
    "holidayapi", "honeybadger", "honeycomb", "hostinger", "html2pdf", "hubspot", "huggingface", "humanity", "hunter", "hunterio", "hybiscus", "hypertrack", "ibm", "iconfinder", "ideogram",
    "iexapis", "iexcloud", "imagekit", "imagga", "infracost", "infura", "insightly", "instabot", "instagram", "instamojo", "intercom", "interseller", "intra42", "intrinio", "invoiceocean",
    "ip2location", "ipapi", "ipgeolocation", "ipify", "ipinfo", "ipinfodb", "ipquality", "ipstack", "iterable", "jenkins", "jetbrains", "jfrog", "jira", "jotform", "judge0", "jumpcloud",
    "jupiterone", "kagi", "keenio", "keygen", "kickbox", "kintone", "klaviyo", "klipfolio", "knapsackpro", "kontent", "kraken", "kucoin", "kustomer", "kylas", "lacework", "langchain", "langfuse",
    "langsmith", "languagelayer", "larksuite", "launchdarkly", "leadfeeder", "lemlist", "lemonsqueezy", "lendflow", "lexigram", "lichess", "lightstep", "linear", "linebot", "linkedin",
    "linkpreview", "linode", "liveagent", "liveblocks", "livekit", "livestorm", "lmnt", "loadmill", "lob", "locationiq", "logdna", "loggly", "loginradius", "logtail", "logz", "logzio",
    "lokalise", "loyverse", "lumalabs", "lunchmoney", "luno", "magicbell", "mailboxlayer", "mailchimp", "mailerlite", "mailersend", "mailgun", "mailjet", "mailmodo", "mailosaur", "mailsac",
    "mailtrap", "mandrill", "mapbox", "mapmyindia", "mapquest", "marketstack", "mattermost", "mavenlink", "maxmind", "meaningcloud", "mediastack", "meilisearch", "meistertask", "memfault",
    "meraki", "mesibo", "messagebird", "metaapi", "metabase", "metronome", "mindmeister", "mintlify", "miro", "mistral", "mixmax", "mixpanel", "mockaroo", "moesif", "mollie", "monday",
    "monkeylearn", "moonclerk", "moonshot", "moosend", "moralis", "mparticle", "mux", "myfreshworks", "nasdaq", "nebius", "nethunt", "netlify", "newrelic", "newsapi", "newscatcher", "nexmo",
    "nftport", "ngrok", "nicereply", "nightbot", "nightfall", "noticeable", "notion", "nozbe", "npm", "numverify", "nutritionix", "nylas", "oanda", "octoai", "odoo", "okta", "omnisend",
    "onboardbase", "onedesk", "onelogin", "onepagecrm", "onesignal", "onfleet", "openai", "opencage", "opencorporates", "openexchangerates", "openmeteo", "openrouter", "opensea", "openuv",
    "openvpn", "openweather", "openweathermap", "opsgenie", "optidash", "optimizely", "outlook", "overloop", "owlbot", "packagecloud", "packagist", "paddle", "pagarme", "pagerduty", "pandadoc",
    "pandascore", "paperform", "paralleldots", "parsehub", "parseur", "partnerstack", "pastebin", "paydirtapp", "paymoapp", "paymongo", "paypal", "paystack", "pdflayer", "pdfshift",
    "peopledatalabs", "pepipost", "percy", "perplexity", "pexels", "phantombuster", "photoroom", "pinata", "pinecone", "pingdom", "pipedream", "pipedrive", "pirsch", "pivotaltracker", "pixabay",
    "plaid", "planetscale", "planyo", "plausible", "plivo", "podio", "poloniex", "polygon", "portainer", "postageapp", "posthog", "postman", "postmark", "prefect", "prefixbox", "printful",
    "pritunl", "prodpad", "productboard", "proxmox", "proxycrawl", "pubnub", "pulumi", "purestake", "pushbullet", "pusher", "pusherbeams", "pushover", "qase", "qiniu", "qualaroo", "qualtrics",
    "quay", "qubole", "quickbase", "quicknode", "rabbitmq", "railway", "rainforestpay", "rapidapi", "rapyd", "rawg", "raycast", "raygun", "razorpay", "reachmail", "readme", "rebrandly",
    "recharge", "recurly", "reddit", "redislabs", "refiner", "rentman", "repairshopr", "replicate", "replyio", "requestfinance", "restpack", "retellai", "retool", "ringcentral", "ritekit",
    "rocketreach", "rockset", "rollbar", "rootly", "route4me", "rubygems", "runpod", "runrunit", "salesblink", "salesflare", "salesforce", "salesloft", "salesmate", "sapling", "saucelabs",
    "scaleway", "scalingo", "scalr", "scrapeowl", "scraperapi", "scraperbox", "scrapestack", "scrapfly", "scrapingant", "scrapingbee", "screenshotapi", "screenshotlayer", "scrutinizer",
    "securitytrails", "segment", "selectpdf", "semaphore", "sendbird", "sendgrid", "sendinblue", "sendpulse", "sentinelone", "sentry", "serpapi", "serphouse", "serpstack", "settlemint", "sheety",
    "sherpadesk", "shipday", "shippo", "shodan", "shopify", "shortcut", "shotstack", "shutterstock", "sidekiq", "signalwire", "sigopt", "siliconflow", "simfin", "simplesat", "simpletexting",
    "sinch", "sirv", "siteleaf", "skyvern", "slack", "smartling", "smartsheet", "smartsheets", "smartystreets", "smooch", "snipcart", "snowflake", "snyk", "softlayer", "sonarcloud", "sonarqube",
    "sonatype", "sourcegraph", "sparkpost", "speechify", "speechtext", "splitio", "splunk", "spoonacular", "sportradar", "sportsmonk", "spotify", "squadcast", "square", "squarespace", "squareup",
    "sslmate", "stabilityai", "stackhawk", "statsig", "statuscake", "statuspage", "statuspal", "stitchdata", "stockdata", "storecove", "stormboard", "stormglass", "storyblok", "storychief",
    "strava", "streamlabs", "stripe", "stripo", "stytch", "sumologic", "supabase", "superface", "supernotes", "surveymonkey", "surveysparrow", "survicate", "svix", "swell", "swiftype", "symbl",
    "tableau", "tailscale", "talkdesk", "tallyfy", "tatum", "tavily", "taxjar", "teamcity", "teamgate", "teamwork", "tefter", "telegram", "teletype", "telnyx", "tencent", "terraform",
    "testingbot", "textmagic", "theoddsapi", "thinkific", "thousandeyes", "thunderstore", "ticketmaster", "tickettailor", "tiingo", "timecamp", "tines", "tmetric", "todoist", "together",
    "togetherai", "toggl", "tokeet", "tomtom", "tradier", "transferwise", "travelpayouts", "travis", "travisci", "trello", "truenas", "trustpilot", "tumblr", "turso", "twelvedata", "twelvelabs",
    "twilio", "twist", "twitch", "twitter", "tyntec", "typeform", "typetalk", "ubidots", "uclassify", "unkey", "unsplash", "upcloud", "uplead", "uploadcare", "uploadthing", "upstash",
    "uptimerobot", "upwave", "urlscan", "userflow", "userpilot", "userstack", "vagrantcloud", "vapi", "vatlayer", "vbout", "vercel", "veriff", "veriphone", "vimeo", "virtru", "virustotal",
    "visualcrossing", "vocode", "voiceflow", "volcengine", "vonage", "voodoosms", "vouchery", "voyageai", "vpnapi", "vultr", "waboxapp", "wakatime", "walkscore", "wandb", "watson", "weatherapi",
    "weatherbit", "weatherstack", "webex", "webflow", "weblate", "webscraper", "webscraping", "weightsandbiases", "wepay", "whoxy", "wistia", "wiz", "wolfram", "wordpress", "workable", "workos",
    "worksnaps", "worldcoinindex", "wrike", "xai", "xata", "xendit", "yandex", "yelp", "youcom", "youtube", "zapier", "zendesk", "zenrows", "zenscrape", "zenserp", "zeplin", "zerobounce",
    "zerossl", "zerotier", "zhipu", "zipcodeapi", "zipcodebase", "zoho", "zohocrm", "zoom", "zoominfo", "zulip", "zuplo",
];

/// The shortest key.
const MIN: usize = 16;
/// The longest name of a service.
const LONGEST: usize = 24;
/// How far before a key the service's name may stand.
const BEFORE: usize = 48;

/// The key that the run of letters and digits from `start` to `end` is or begins.
pub(crate) fn key(text: &[u8], start: usize, end: usize) -> Option<Range<usize>> {
    // The first run of one that has joints in it may be shorter than any key.
    if end - start < MIN {
        let whole = class::run_end(text, end, ALNUM | JOINER);
        let letters = || {
            text[start..whole]
                .iter()
                .any(|byte| class::is(*byte, LETTER))
        };
        if whole - start < MIN || !letters() {
            return None;
        }
    }
    let start = beginning(text, start);
    if start == 0 || !is_joint(&text[start - 1]) {
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

/// `acme_client_id`, `acmeAppId`, `acme_id`: whether what follows is a client's name at a service.
fn is_client_id(name: &[u8]) -> bool {
    let is_sign = |byte: &u8| matches!(byte, b'_' | b'-' | b'.' | b' ');
    let plain = name.iter().rev().filter(|byte| !is_sign(byte)).take(10);
    let mut end: Vec<u8> = plain.map(u8::to_ascii_lowercase).collect();
    end.reverse();
    let clients = [&b"clientid"[..], b"appid", b"consumerid", b"bucketid"];
    clients.into_iter().any(|client| end.ends_with(client))
}

/// Where the value begins that the run at `start` goes on: behind a prefix as `acme_`, in base64.
fn beginning(text: &[u8], start: usize) -> usize {
    const LONGEST: usize = 32;
    if !class::before(text, start, JOINER | BASE64) || text[start - 1] == b'=' {
        return start;
    }
    let floor = start.saturating_sub(LONGEST);
    let is_part = |byte: &u8| class::is(*byte, ALNUM | JOINER) || b"+/".contains(byte);
    let length = text[floor..start]
        .iter()
        .rev()
        .take_while(|byte| is_part(byte))
        .count();
    let begins = start - length;
    let is_quoted = begins > floor && matches!(text[begins - 1], b'"' | b'\'' | b'=' | b' ');
    if is_quoted && text[begins] != b'/' {
        begins
    } else {
        start
    }
}

/// What stands between a service's name and its key.
fn is_joint(byte: &u8) -> bool {
    class::is(*byte, SPACE) || b"\"'`=:>,(".contains(byte)
}

/// Whether a service is named before the value at `start`, and a sign of assignment stands between.
fn named(text: &[u8], start: usize) -> Option<bool> {
    let floor = start.saturating_sub(BEFORE);
    let before = &text[floor..start];
    let line = before
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(before, |end| &before[end + 1..]);
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
    let is_service = |word: &[u8]| {
        let mut lower = [0; LONGEST];
        let Some(lower) = lower.get_mut(..word.len()) else {
            return false;
        };
        lower.copy_from_slice(word);
        lower.make_ascii_lowercase();
        SERVICES
            .binary_search_by(|service| service.as_bytes().cmp(lower))
            .is_ok()
    };
    // `BrowserstackClient`: the name's first part.
    let first = |word: &[u8]| {
        let small = |pair: &[u8]| class::is(pair[0], LOWER | DIGIT) && class::is(pair[1], UPPER);
        word.windows(2).position(small).unwrap_or(word.len() - 1) + 1
    };
    let is_named = words.any(|word| {
        let has_humps = || word[1..].iter().any(|byte| class::is(*byte, UPPER));
        is_service(word) || (has_humps() && is_service(&word[..first(word)]))
    });
    if !is_named {
        return None;
    }
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
    // The second argument of a call is quoted as the first is.
    let is_argument = || joint.contains(&b',') && joint.iter().any(|byte| b"\"'".contains(byte));
    let is_joined = joint.iter().any(|byte| b"=:>(".contains(byte)) || is_argument();
    // The id of a client goes with its secret, if it looks like no other id.
    if says_other && is_client_id(name) {
        return Some(false);
    }
    (!says_other).then_some(is_joined)
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
                .all(|name| name.bytes().all(|b| class::is(b, LOWER | DIGIT)))
        );
    }
}
