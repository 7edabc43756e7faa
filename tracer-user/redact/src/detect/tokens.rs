//! Tokens that their issuers made recognisable: a fixed beginning, an alphabet, a length.
//!
//! A pattern begins where one of its words was found. Lengths are lower bounds nearly everywhere:
//! issuers have made their tokens longer, and what is not matched is not masked. Examples are
//! written without values (`*n` stands for n letters and digits, `#n` digits, `%n` hexadecimal
//! digits, `^n` capitals and digits), so that no scanner mistakes this file for a leak.

use super::{
    Kind::{
        self, AiKey, BasicAuth, ChatToken, CloudKey, CryptoAddress, ForgeToken, Jwt, PasswordHash,
        PaymentKey, PrivateKey, ServiceToken,
    },
    class::{self, ALNUM, BASE64, DIGIT, JOINER, LETTER, LOWER, UPPER},
    looks::{is_plate, looks_random},
    words::Hit,
};

/// One shape of token.
pub(crate) struct Token {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    /// What the pattern begins with; any of them, in either case.
    pub(crate) words: &'static [&'static str],
    /// What is found is its group `value`, or all of it if there is none.
    pub(crate) pattern: &'static str,
    pub(crate) example: &'static str,
    /// What leads up to the word and belongs to the token.
    pub(crate) lead: Lead,
}

/// What stands before a token's word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lead {
    /// Nothing: the word begins the token.
    None,
    /// A name: letters, digits, `-` and `_`, as many as there are.
    Name,
    /// A number, if there is one.
    Number,
    /// Hexadecimal digits, exactly this many.
    Hex(usize),
    /// Base64, at least this much.
    Base64(usize),
    /// Letters, digits, `-` and `_`, exactly so many.
    Part(usize),
    /// Three characters and a digit.
    Azure,
}

/// No lead is followed further back.
const MAX_LEAD: usize = 256;

impl Lead {
    /// Where a token begins whose word is at `word`, if what leads up to it is as it should be.
    pub(crate) fn start(self, text: &[u8], word: usize) -> Option<usize> {
        let floor = word.saturating_sub(MAX_LEAD);
        let run = |classes: u8| floor + class::run_start(&text[floor..], word - floor, classes);
        match self {
            Self::None => {
                let is_inside = class::at(text, word, ALNUM) && class::before(text, word, ALNUM);
                // A piece of base64 may begin like anything.
                let is_blob = class::before(text, word, ALNUM | BASE64)
                    && text[word - 1] == b'+'
                    && class::before(text, word - 1, ALNUM);
                (!is_inside && !is_blob).then_some(word)
            }
            Self::Name => Some(run(ALNUM | JOINER)),
            Self::Number => Some(run(DIGIT)),
            Self::Hex(count) => {
                let start = word.checked_sub(count)?;
                let is_hex = text[start..word].iter().all(u8::is_ascii_hexdigit);
                (is_hex && !class::before(text, start, ALNUM)).then_some(start)
            }
            Self::Part(count) => {
                let start = word.checked_sub(count)?;
                let is_part = |byte: &u8| class::is(*byte, ALNUM | JOINER);
                let is_whole = text[start..word].iter().all(is_part);
                (is_whole && !class::before(text, start, ALNUM | JOINER | BASE64)).then_some(start)
            }
            Self::Base64(least) => {
                // Padding and the sign of an assignment stand before it, not in it.
                let start = text[run(ALNUM | BASE64)..word]
                    .iter()
                    .rposition(|byte| *byte == b'=')
                    .map_or(run(ALNUM | BASE64), |sign| run(ALNUM | BASE64) + sign + 1);
                (word - start >= least).then_some(start)
            }
            Self::Azure => {
                let start = word.checked_sub(4)?;
                let is_part = |byte: &u8| class::is(*byte, ALNUM | JOINER) || b"~.".contains(byte);
                (text[start..word].iter().all(is_part) && class::before(text, word, DIGIT))
                    .then_some(start)
            }
        }
    }
}

/// Whether a token that begins here is glued to a word: `keyAKIA…`, `Bearerey…`, `ofsk-…`.
pub(crate) fn is_glued(text: &[u8], start: usize) -> bool {
    const LONGEST: usize = 24;
    let floor = start.saturating_sub(LONGEST + 1);
    let word = floor + class::run_start(&text[floor..], start - floor, ALNUM);
    // Blobs in base64 begin like anything, but not like words.
    word > floor
        && !(class::before(text, word, BASE64) && class::before(text, word - 1, ALNUM))
        && is_word(&text[word..start])
        || word == 0 && is_word(&text[..start])
}

/// A word or several in one, as `apiKey`.
fn is_word(run: &[u8]) -> bool {
    let is_hump = |pair: &[u8]| class::is(pair[0], UPPER) && class::is(pair[1], UPPER);
    !run.is_empty()
        && run.iter().all(|byte| class::is(*byte, LETTER))
        && run.last().is_some_and(|byte| class::is(*byte, LOWER))
        && !run.windows(2).any(is_hump)
}

/// Whether what follows an issuer's word, up to `end`, can be nothing else: names of things are glued to
/// words as well, as in `task-…`.
pub(crate) fn is_certain(text: &[u8], word: Hit, end: usize) -> bool {
    const LEAST: usize = 20;
    const LONG_WORD: usize = 6;
    let is_named = word.end - word.start >= LONG_WORD;
    let value = &text[word.end.min(end)..end];
    let has = |classes: u8| value.iter().any(|byte| class::is(*byte, classes));
    let is_mixed = has(UPPER) && has(LOWER) && has(DIGIT);
    end - word.start >= LEAST
        && (is_named
            || is_mixed && looks_random(value)
            || class::at(text, word.start, UPPER) && is_plate(value))
}

const fn token(
    name: &'static str,
    kind: Kind,
    words: &'static [&'static str],
    pattern: &'static str,
    example: &'static str,
) -> Token {
    Token {
        name,
        kind,
        words,
        pattern,
        example,
        lead: Lead::None,
    }
}

const fn led(lead: Lead, token: Token) -> Token {
    Token { lead, ..token }
}

/// Every known shape.
#[rustfmt::skip]
pub(crate) static TOKENS: &[Token] = &[
    // Clouds.
    token("aws-access-key-id", CloudKey, &["AKIA", "ASIA", "ABIA", "ACCA", "AROA", "AIDA", "A3T"], r"(?<value>(?:AKIA|ASIA|ABIA|ACCA|AROA|AIDA|A3T[A-Z0-9])[A-Z0-9]{16})(?:\b|[a-z_])", "AKIA^16"),
    token("aws-mws-key", CloudKey, &["amzn.mws."], r"amzn\.mws\.[0-9a-z]{8}(?:-[0-9a-z]{4}){3}-[0-9a-z]{12}", "amzn.mws.%8-%4-%4-%4-%12"),
    token("aws-bedrock-key", CloudKey, &["ABSK", "bedrock-api-key-"], r"(?:ABSK|bedrock-api-key-)[0-9A-Za-z+/=]{60,}", "ABSK*110"),
    token("google-api-key", CloudKey, &["AIza"], r"AIza[0-9A-Za-z_-]{32,45}", "AIza*35"),
    token("google-oauth-token", CloudKey, &["ya29."], r"ya29\.[0-9A-Za-z_-]{10,}", "ya29.*60"),
    token("google-oauth-secret", CloudKey, &["GOCSPX-"], r"GOCSPX-[0-9A-Za-z_-]{20,}", "GOCSPX-*28"),
    token("google-refresh-token", CloudKey, &["1//0"], r"1//0[0-9A-Za-z_-]{30,}", "1//0*60"),
    token("alibaba-access-key-id", CloudKey, &["LTAI"], r"LTAI[0-9A-Za-z]{12,26}\b", "LTAI*20"),
    token("tencent-secret-id", CloudKey, &["AKID"], r"AKID[0-9A-Za-z]{13,40}\b", "AKID*32"),
    token("digitalocean-token", CloudKey, &["dop_v1_", "doo_v1_", "dor_v1_"], r"do[opr]_v1_[0-9a-f]{40,}", "dop_v1_%64"),
    token("hetzner-heroku-key", CloudKey, &["HRKU-"], r"HRKU-[0-9A-Za-z_-]{36,}", "HRKU-%8-%4-%4-%4-%12"),
    token("flyio-token", CloudKey, &["FlyV1 ", "fm1r_", "fm1a_", "fm2_", "fo1_"], r"(?:FlyV1 )?(?:fm1[ar]_|fm2_|fo1_)[0-9A-Za-z+/=,_-]{40,}", "fo1_*43"),
    token("yandex-cloud-key", CloudKey, &["AQVN", "YCAJE", "YCN", "YCAJ", "t1.9eu", "trnsl.1.1.", "dict.1.1.", "pdct.1.1."], r"(?:AQVN[0-9A-Za-z_-]{30,}|YCAJ[0-9A-Za-z_-]{16,}|YCN[0-9A-Za-z_-]{35,}|t1\.9eu[0-9A-Za-z_.=-]{60,}|(?:trnsl|dict|pdct)\.1\.1\.\d{8}T\d{6}Z\.[0-9a-f]{16}\.[0-9a-f]{40})", "AQVN*36"),
    token("ibm-cloudant-url", CloudKey, &["IBMIAM_"], r"IBMIAM_[0-9A-Za-z_-]{30,}", "IBMIAM_*44"),
    token("vault-token", CloudKey, &["hvs.", "hvb.", "hvr."], r"hv[sbr]\.[0-9A-Za-z_-]{18,}", "hvs.*24"),
    token("tailscale-key", CloudKey, &["tskey-"], r"tskey-[a-z]+-[0-9A-Za-z_-]{12,}", "tskey-auth-*12-*24"),
    token("pulumi-token", CloudKey, &["pul-"], r"pul-[0-9a-f]{40}", "pul-%40"),
    token("doppler-token", CloudKey, &["dp.pt.", "dp.st.", "dp.sa.", "dp.ct.", "dp.scim.", "dp.audit."], r"dp\.(?:pt|st|sa|ct|scim|audit)\.(?:[a-z0-9_-]{2,35}\.)?[0-9A-Za-z]{38,}", "dp.pt.*43"),
    token("planetscale-token", CloudKey, &["pscale_tkn_", "pscale_pw_", "pscale_oauth_"], r"pscale_(?:tkn|pw|oauth)_[0-9A-Za-z_.=-]{30,}", "pscale_tkn_*43"),
    token("supabase-key", CloudKey, &["sbp_", "sb_secret_", "sb_publishable_"], r"(?:sbp_(?:v\d_)?[0-9a-f]{36,}|sb_(?:secret|publishable)_[0-9A-Za-z_-]{20,})", "sbp_%40"),
    token("databricks-token", CloudKey, &["dapi"], r"dapi[0-9a-h]{32}(?:-\d)?\b", "dapi%32"),
    led(Lead::Name, token("terraform-token", CloudKey, &[".atlasv1."], r"\.atlasv1\.[0-9A-Za-z_=-]{58,}", ".atlasv1.*67")),
    token("scaleway-key", CloudKey, &["SCW"], r"SCW[0-9A-Z]{17}\b", "SCW^17"),
    token("cloudflare-origin-ca", CloudKey, &["v1.0-"], r"v1\.0-[0-9a-f]{20,}-[0-9a-f]{100,}", "v1.0-%24-%146"),
    token("netlify-token", CloudKey, &["nfp_"], r"nfp_[0-9A-Za-z_]{36,}", "nfp_*36"),
    token("oci-ocid", CloudKey, &["ocid1.", "ops_eyJ"], r"(?:ocid1\.(?:user|tenancy|credential)\.[0-9A-Za-z._-]{20,}|ops_eyJ[0-9A-Za-z+/=_-]{100,})", "ops_eyJ*240"),
    // Source forges and registries.
    token("github-token", ForgeToken, &["ghp_", "gho_", "ghu_", "ghs_", "ghr_"], r"gh[opsur]_[0-9A-Za-z]{30,255}", "ghp_*36"),
    token("github-fine-grained-token", ForgeToken, &["github_pat_"], r"github_pat_[0-9A-Za-z_]{22,255}", "github_pat_*22_*59"),
    token("gitlab-token", ForgeToken, &["glpat-", "gldt-", "glrt-", "glrtr-", "glcbt-", "glptt-", "glft-", "glimt-", "glagent-", "gloas-", "glsoat-", "glffct-", "glwt-", "GR1348941"], r"(?:gl(?:pat|dt|rt|rtr|cbt|ptt|ft|imt|agent|oas|soat|ffct|wt)-|GR1348941)[0-9A-Za-z_.=-]{20,}", "glpat-*20"),
    token("gitlab-session", ForgeToken, &["_gitlab_session="], r"_gitlab_session=[0-9a-z]{32}", "_gitlab_session=%32"),
    token("bitbucket-token", ForgeToken, &["BBDC-", "ATBB", "ATCTT3xFfG", "ATATT3xFfG"], r"(?:BBDC-[0-9A-Za-z+/@_-]{40,}|ATBB[0-9A-Za-z_=.-]{24,}|AT(?:CT|AT)T3xFfG[0-9A-Za-z+/=_-]{20,})", "ATBB*32"),
    token("npm-token", ForgeToken, &["npm_"], r"npm_[0-9A-Za-z]{30,}", "npm_*36"),
    token("pypi-token", ForgeToken, &["pypi-Ag"], r"pypi-Ag[0-9A-Za-z_-]{50,}", "pypi-Ag*90"),
    token("rubygems-token", ForgeToken, &["rubygems_"], r"rubygems_[0-9a-f]{40,}", "rubygems_%48"),
    token("crates-io-token", ForgeToken, &["cio"], r"cio[0-9A-Za-z]{32}\b", "cio*32"),
    token("nuget-key", ForgeToken, &["oy2"], r"oy2[a-z0-9]{43}\b", "oy2%43"),
    token("docker-hub-token", ForgeToken, &["dckr_pat_", "dckr_oat_"], r"dckr_[op]at_[0-9A-Za-z_-]{20,}", "dckr_pat_*27"),
    token("artifactory-token", ForgeToken, &["AKCp", "AKC", "AP0", "AP1", "AP2", "AP3", "AP5", "AP6", "APA", "APB", "APC", "APD", "APE", "APF", "cmVmdGtu"], r"(?:AKC[0-9A-Za-z]{10,}|AP[0-9A-F][0-9A-Za-z]{8,}[0-9a-z][0-9A-Za-z]*|cmVmdGtu[0-9A-Za-z=]{50,})\b", "AKCp*69"),
    token("circleci-token", ForgeToken, &["CCIPAT_", "CCIPRJ_"], r"CCIP(?:AT|RJ)_[0-9A-Za-z_]{40,}", "CCIPAT_*22_%40"),
    token("sonar-token", ForgeToken, &["sqp_", "squ_", "sqa_"], r"sq[apu]_[0-9a-f]{40}", "sqp_%40"),
    token("sourcegraph-token", ForgeToken, &["sgp_", "slk_", "sgd_"], r"(?:sgp_(?:[0-9a-fA-F]{16}_|local_)?|slk_|sgd_)[0-9a-fA-F]{40,}", "sgp_%40"),
    token("snyk-sentry-token", ForgeToken, &["sntrys_", "sntryu_"], r"sntry[su]_[0-9A-Za-z+/=_-]{40,}", "sntryu_%64"),
    token("launchdarkly-key", ServiceToken, &["sdk-", "mob-", "api-"], r"(?:sdk|mob|api)-[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", "sdk-%8-%4-%4-%4-%12"),
    // Chat.
    token("slack-token", ChatToken, &["xoxb-", "xoxp-", "xoxa-", "xoxo-", "xoxs-", "xoxr-", "xoxe-", "xoxe.", "xoxd-", "xoxc-", "xapp-"], r"(?:xox[a-z][.-]|xapp-)(?:xox[a-z]-)?[0-9A-Za-z%-]*[0-9][0-9A-Za-z_%+/-]{9,}", "xoxb-#12-#12-*24"),
    token("slack-webhook", ChatToken, &["hooks.slack.com/"], r"hooks\.slack\.com/(?:services|workflows|triggers)/[0-9A-Za-z+/_-]{20,}", "hooks.slack.com/services/T^8/B^8/*24"),
    token("discord-webhook", ChatToken, &["discord.com/api/webhooks/", "discordapp.com/api/webhooks/"], r"discord(?:app)?\.com/api/webhooks/\d{15,}/[0-9A-Za-z_-]{40,}", "discord.com/api/webhooks/#18/*68"),
    led(Lead::Name, token("teams-webhook", ChatToken, &["outlook.office.com/webhook/", ".webhook.office.com/"], r"(?:outlook\.office\.com/webhook|\.webhook\.office\.com)/[0-9A-Za-z@/_-]{36,}", "outlook.office.com/webhook/%8-%4-%4-%4-%12@%32/IncomingWebhook/%32")),
    token("node-provider-key", ServiceToken, &["infura.io/v3/", "infura.io/ws/v3/", "alchemy.com/v2/", "alchemyapi.io/v2/"], r"(?:infura\.io/(?:ws/)?v3/|alchemy(?:api)?\.(?:com|io)/v2/)(?<value>[0-9A-Za-z_-]{32})", "infura.io/v3/%32"),
    token("openweathermap-key", ServiceToken, &["appid="], r"appid=(?<value>[0-9a-f]{32})\b", "appid=%32"),
    token("zoom-jitsi-webhook", ChatToken, &["webhook/zapier", "hooks.zapier.com/"], r"hooks\.zapier\.com/hooks/catch/[0-9A-Za-z/]{10,}", "hooks.zapier.com/hooks/catch/#7/*7"),
    led(Lead::Number, token("telegram-bot-token", ChatToken, &[":AA"], r":AA[0-9A-Za-z_-]{32,36}", "#10:AA*33")),
    // Issuers that came later, each as its documentation shows it.
    token("vercel-token", CloudKey, &["vercel_blob_rw_", "vcp_", "vci_", "vca_", "vcr_", "vck_"], r"(?:vercel_blob_rw_[0-9A-Za-z]{16}_[0-9A-Za-z]{24,}|vc[piark]_[0-9A-Za-z]{24,})", "vcp_*56"),
    token("mailersend-key", ServiceToken, &["mlsn."], r"mlsn\.[0-9a-f]{64}\b", "mlsn.%64"),
    token("yandex-oauth-token", CloudKey, &["y0_", "y1_", "y2_", "y3_"], r"y[0-3]_[0-9A-Za-z_-]{54,}", "y0_*55"),
    token("square-access-token", PaymentKey, &["EAAA"], r"EAAA[0-9A-Za-z_-]{60}", "EAAA*60"),
    token("wakatime-key", ServiceToken, &["waka_"], r"waka_[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", "waka_%8-%4-%4-%4-%12"),
    token("plaid-link-token", PaymentKey, &["link-sandbox-", "link-development-", "link-production-"], r"link-(?:sandbox|development|production)-[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", "link-sandbox-%8-%4-%4-%4-%12"),
    token("fernet-token", ServiceToken, &["gAAAAAB"], r"gAAAAAB[0-9A-Za-z_-]{60,}={0,2}", "gAAAAAB*93="),
    token("amazon-login-secret", CloudKey, &["amzn1.oa2-cs.v1.", "amzn1.application-oa2-client.", "Atza|", "Atzr|"], r"(?:amzn1\.(?:oa2-cs\.v1|application-oa2-client)\.[0-9a-f]{32,}|Atz[ar]\|[0-9A-Za-z+/=_-]{40,})", "Atza|*120"),
    token("k3s-token", CloudKey, &["K10"], r"K10[0-9a-f]{64}::[0-9A-Za-z-]+:[0-9a-f]{32}", "K10%64::server:%32"),
    token("github-app-token", ForgeToken, &["v1."], r"v1\.[0-9a-f]{40}\b", "v1.%40"),
    token("e2b-key", CloudKey, &["e2b_"], r"e2b_[0-9a-f]{40}\b", "e2b_%40"),
    token("woocommerce-key", PaymentKey, &["ck_", "cs_"], r"c[ks]_[0-9a-f]{40}\b", "ck_%40"),
    token("adobe-client-secret", ServiceToken, &["p8e-"], r"p8e-[0-9a-z]{32}\b", "p8e-%32"),
    token("stytch-secret", ServiceToken, &["secret-live-", "secret-test-", "project-live-", "project-test-"], r"(?:secret-(?:live|test)-[0-9A-Za-z_=-]{30,}|project-(?:live|test)-[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})", "secret-live-*48"),
    token("arcgis-key", ServiceToken, &["AAPK", "AAPT"], r"AAP[KT][0-9A-Za-z_-]{60,}", "AAPK*60"),
    token("volcengine-access-key-id", CloudKey, &["AKLT"], r"AKLT[0-9A-Za-z_-]{30,}", "AKLT*42"),
    token("snyk-service-token", ServiceToken, &["snyk_uat.", "snyk_sat."], r"snyk_[us]at\.[0-9a-f]{8}\.[0-9A-Za-z_-]{30,}", "snyk_uat.%8.*60"),
    token("google-oauth-code", CloudKey, &["4/0A"], r"4/0A[0-9A-Za-z_-]{30,}", "4/0A*60"),
    token("postman-collection", ServiceToken, &["getpostman.com/collections/"], r"getpostman\.com/collections/(?<value>[0-9a-f]{20})\b", "getpostman.com/collections/%20"),
    token("softlayer-key", CloudKey, &["softlayer.com/soap/v3"], r"softlayer\.com/soap/v3(?:\.1)?/(?<value>[0-9a-z]{64})\b", "api.softlayer.com/soap/v3/%64"),
    token("infracost-key", ServiceToken, &["ico-"], r"ico-[0-9A-Za-z]{32}\b", "ico-*32"),
    token("settlemint-token", ServiceToken, &["sm_aat_", "sm_pat_", "sm_sat_"], r"sm_[aps]at_[0-9A-Za-z]{16,}", "sm_aat_*16"),
    token("defined-networking-key", ServiceToken, &["dnkey-"], r"dnkey-[0-9A-Za-z=_-]{26}-[0-9A-Za-z=_-]{52}", "dnkey-*26-*52"),
    token("persona-key", ServiceToken, &["persona_production_", "persona_sandbox_"], r"persona_(?:production|sandbox)_[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", "persona_production_%8-%4-%4-%4-%12"),
    token("endor-key", ServiceToken, &["endr+"], r"endr\+[0-9A-Za-z_-]{16}", "endr+*16"),
    token("jetbrains-token", ForgeToken, &["perm:", "perm-"], r"perm[:-][0-9A-Za-z+/=]{8,}\.[0-9A-Za-z+/=]{4,}\.[0-9A-Za-z]{20,}", "perm:*20.*10.*30"),
    led(Lead::Part(11), token("dropbox-offline-token", ServiceToken, &["AAAAAAAAAA"], r"A{10}[0-9A-Za-z_-]{43}\b", "*11AAAAAAAAAA*43")),
    token("glhf-key", AiKey, &["glhf_"], r"glhf_[0-9a-f]{32}\b", "glhf_%32"),
    // Payment.
    token("stripe-key", PaymentKey, &["sk_live_", "rk_live_", "pk_live_", "sk_test_", "rk_test_", "pk_test_", "sk_prod_", "pk_prod_", "ak_live_", "ak_test_"], r"[sprka]k_(?:live|test|prod)_[0-9A-Za-z]{10,}", "rk_live_*24"),
    token("stripe-webhook-secret", PaymentKey, &["whsec_"], r"whsec_[0-9A-Za-z+/=]{24,}", "whsec_*32"),
    token("square-token", PaymentKey, &["sq0atp-", "sq0csp-", "sq0idp-", "EAAAE", "EAAAl"], r"(?:sq0[a-z]{3}-[0-9A-Za-z_-]{22,}|EAAA[El][0-9A-Za-z_-]{55,})", "sq0csp-*43"),
    token("braintree-token", PaymentKey, &["access_token$"], r"access_token\$(?:production|sandbox)\$[0-9a-z]{16}\$[0-9a-f]{32}", "access_token$production$%16$%32"),
    token("shopify-token", PaymentKey, &["shpat_", "shpca_", "shppa_", "shpss_", "shpua_", "shptka_"], r"shp(?:at|ca|pa|ss|ua|tka)_[0-9a-fA-F]{32}", "shpat_%32"),
    token("plaid-token", PaymentKey, &["access-sandbox-", "access-development-", "access-production-"], r"access-(?:sandbox|development|production)-[0-9a-f-]{36}", "access-sandbox-%8-%4-%4-%4-%12"),
    token("razorpay-key", PaymentKey, &["rzp_live_", "rzp_test_"], r"rzp_(?:live|test)_[0-9A-Za-z]{14,}", "rzp_live_*14"),
    token("flutterwave-key", PaymentKey, &["FLWSECK", "FLWPUBK"], r"FLW(?:SECK|PUBK)(?:_TEST)?-[0-9A-Za-z]{12,}(?:-X)?", "FLWSECK-%32-X"),
    token("adyen-key", PaymentKey, &["AQEyhm", "AQEvhm", "AQEqhm"], r"AQE[a-z]hm[0-9A-Za-z+/=._-]{50,}", "AQEyhm*80"),
    token("duffel-easypost-key", PaymentKey, &["duffel_test_", "duffel_live_", "EZAK", "EZTK", "shippo_live_", "shippo_test_"], r"(?:duffel_(?:test|live)_[0-9A-Za-z_=-]{43}|EZ[AT]K[0-9A-Za-z]{54}|shippo_(?:live|test)_[0-9a-f]{40})", "EZAK*54"),
    // Model providers.
    token("openai-key", AiKey, &["sk-"], r"sk-(?:(?:proj|svcacct|admin|None|service)-[0-9A-Za-z_-]{20,}|[0-9A-Za-z]{20}T3BlbkFJ[0-9A-Za-z]{20}|[0-9A-Za-z]{32,64}\b)", "sk-proj-*60T3BlbkFJ*60"),
    token("anthropic-key", AiKey, &["sk-ant-"], r"sk-ant-(?:[a-z]+\d+-)?[0-9A-Za-z_-]{20,}", "sk-ant-api03-*93AA"),
    token("openrouter-key", AiKey, &["sk-or-", "sk-lf-", "pk-lf-"], r"(?:sk-or-(?:v1-)?|[sp]k-lf-)[0-9a-f-]{32,}", "sk-or-v1-%64"),
    token("huggingface-token", AiKey, &["hf_", "api_org_"], r"(?:hf|api_org)_[0-9A-Za-z]{30,}", "hf_*34"),
    token("replicate-token", AiKey, &["r8_"], r"r8_[0-9A-Za-z]{32,}", "r8_*37"),
    token("groq-key", AiKey, &["gsk_", "xai-", "pplx-", "nvapi-", "tgp_v1_", "csk-", "fw_", "tvly-", "jina_", "pcsk_", "lsv2_pt_", "lsv2_sk_", "phc_", "phx_", "llx-", "LLM|", "ls__"], r"(?:gsk_|xai-|pplx-|nvapi-|tgp_v1_|csk-|fw_|tvly-|jina_|pcsk_|lsv2_(?:pt|sk)_|ph[cx]_|llx-|LLM\|\d+\||ls__)[0-9A-Za-z_-]{22,}", "gsk_*52"),
    led(Lead::Name, token("google-client-id", CloudKey, &[".apps.googleusercontent.com"], r"\.apps\.googleusercontent\.com", ".apps.googleusercontent.com")),
    // Other services.
    token("sendgrid-key", ServiceToken, &["SG."], r"SG\.[0-9A-Za-z_-]{16,}\.[0-9A-Za-z_-]{16,}", "SG.*22.*43"),
    token("mailgun-key", ServiceToken, &["key-", "pubkey-"], r"(?:pub)?key-[0-9a-f]{32}\b", "key-%32"),
    token("brevo-key", ServiceToken, &["xkeysib-", "xsmtpsib-"], r"x(?:key|smtp)sib-[0-9a-f]{60,}-[0-9A-Za-z]{14,}", "xkeysib-%64-*16"),
    token("postman-key", ServiceToken, &["PMAK-", "PMAT-"], r"(?:PMAK-[0-9a-f]{24}-[0-9a-f]{34}|PMAT-[0-9A-Z]{20,})", "PMAK-%24-%34"),
    token("hubspot-token", ServiceToken, &["pat-na1-", "pat-na2-", "pat-eu1-", "pat-ap1-"], r"pat-(?:na|eu|ap)\d-[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", "pat-na1-%8-%4-%4-%4-%12"),
    token("newrelic-key", ServiceToken, &["NRAK-", "NRJS-", "NRII-", "NRIQ-", "NRSP-", "NRAA-", "NRAL-", "NRRA-", "NRBR-"], r"NR(?:AK|JS|II|IQ|SP|AA|AL|RA|BR)-[0-9A-Za-z_-]{19,}", "NRAK-^27"),
    token("newrelic-pixie-key", ServiceToken, &["px-dep-", "px-api-"], r"px-(?:dep|api)-[0-9a-f-]{36}", "px-dep-%8-%4-%4-%4-%12"),
    token("grafana-token", ServiceToken, &["glsa_", "glc_", "eyJrIjoi"], r"(?:glsa_[0-9A-Za-z]{32}_[0-9a-fA-F]{8}|glc_[0-9A-Za-z+/=_-]{32,}|eyJrIjoi[0-9A-Za-z+/=_-]{40,})", "glsa_*32_%8"),
    token("linear-figma-key", ServiceToken, &["lin_api_", "lin_oauth_", "figd_", "figo_"], r"(?:lin_(?:api|oauth)_|fig[do]_)[0-9A-Za-z_-]{32,}", "lin_api_*40"),
    token("notion-token", ServiceToken, &["secret_", "ntn_"], r"(?:secret_[0-9A-Za-z]{43}|ntn_\d{8,}[0-9A-Za-z]{30,})\b", "ntn_#11*35"),
    token("dynatrace-token", ServiceToken, &["dt0c01.", "dt0s01.", "dt0s16."], r"dt0[cs]\d\d\.[0-9A-Z]{8,24}(?:\.[0-9A-Z]{40,})?", "dt0c01.^24.^64"),
    token("octopus-key", ServiceToken, &["API-"], r"API-[0-9A-Z]{25,}\b", "API-^26"),
    token("prefect-key", ServiceToken, &["pnu_", "pnb_", "rdme_", "tfp_", "apify_api_", "fio-u-", "cal_live_", "nfp_"], r"(?:pn[bu]_|rdme_|tfp_|apify_api_|fio-u-|cal_live_|nfp_)[0-9A-Za-z_-]{30,}", "pnu_*36"),
    token("airtable-asana-token", ServiceToken, &["pat"], r"pat[0-9A-Za-z]{14}\.[0-9a-f]{64}", "pat*14.%64"),
    token("onepassword-secret-key", ServiceToken, &["A3-"], r"A3-[0-9A-Z]{6}-(?:[0-9A-Z]{11}|[0-9A-Z]{6}-[0-9A-Z]{5})(?:-[0-9A-Z]{5}){3}", "A3-^6-^11-^5-^5-^5"),
    token("age-secret-key", PrivateKey, &["AGE-SECRET-KEY-1"], r"AGE-SECRET-KEY-1[0-9A-Z]{58}", "AGE-SECRET-KEY-1^58"),
    token("nkey-seed", PrivateKey, &["SUA", "SAA", "SOA"], r"S[UAO]A[A-Z2-7]{55}\b", "SUAABCDEFGHIJKLMNOPQRSTUVWXYZ234567ABCDEFGHIJKLMNOPQRSTUVW"),
    token("twilio-key", ServiceToken, &["SK", "AC"], r"(?:SK|AC)(?:[0-9a-fx]{32}|[0-9A-F]{32})\b", "SK%32"),
    token("facebook-token", ServiceToken, &["EAA", "IGQV"], r"(?:EAA[A-Z][0-9A-Za-z]{40,}|EAA[0-9A-Za-z]{80,}|IGQV[0-9A-Za-z_-]{40,})", "EAAC*120"),
    token("twitter-bearer", ServiceToken, &["AAAAAAAAAAAAAAAAAAAAA"], r"A{21,}[0-9A-Za-z%+/=_-]{30,}", "AAAAAAAAAAAAAAAAAAAAAAAA*80"),
    token("pubnub-key", ServiceToken, &["sub-c-", "pub-c-", "sec-c-"], r"(?:sub|pub|sec)-c-[0-9A-Za-z]{8}(?:-[0-9A-Za-z]{4}){3}-[0-9A-Za-z]{12,}", "sub-c-%8-%4-%4-%4-%12"),
    token("segment-key", ServiceToken, &["sgp_"], r"sgp_[0-9A-Za-z]{60,}\b", "sgp_*64"),
    token("artifactory-key", ForgeToken, &["AKCp"], r"AKCp[0-9A-Za-z]{60,}", "AKCp*69"),
    token("oauth-code", ServiceToken, &["?code=", "&code="], r"[?&]code=(?<value>[0-9A-Za-z/_.%~-]{16,}={0,2})", "?code=4/0A*24"),
    token("openssh-key", PrivateKey, &["b3BlbnNzaC1rZXktdjE"], r"b3BlbnNzaC1rZXktdjE[0-9A-Za-z+/=]{20,}", "b3BlbnNzaC1rZXktdjE*50"),
    token("mapbox-token", ServiceToken, &["pk.eyJ", "sk.eyJ", "tk.eyJ"], r"[pst]k\.eyJ[0-9A-Za-z_-]{20,}\.[0-9A-Za-z_-]{20,}", "pk.eyJ*60.*22"),
    token("frameio-clojars-token", ServiceToken, &["CLOJARS_"], r"CLOJARS_[0-9a-z]{60}", "CLOJARS_%60"),
    token("typesense-zpka", ServiceToken, &["zpka_", "cosy_", "wgr_", "cosmo_"], r"(?:zpka_[0-9a-z]{32}_[0-9a-f]{8}|cosmo_[0-9a-f]{32})", "zpka_%32_%8"),
    token("teamwork-token", ServiceToken, &["tkn.v1_"], r"tkn\.v1_[0-9A-Za-z+/=_-]{40,}", "tkn.v1_*60"),
    token("wrike-token", ServiceToken, &["eyT"], r"eyT[0-9A-Za-z:_-]{60,}\.[0-9A-Za-z_-]{30,}", "eyT*100.*40"),
    token("arn", CloudKey, &["arn:aws"], r"arn:aws[a-z-]*:[a-z0-9-]+:[a-z0-9-]*:(?:\d{12})?:[0-9A-Za-z_/:.+@$*{}-]+", "arn:aws:iam::#12:role/reader"),
    // Clouds and what runs on them.
    token("cloudflare-token", CloudKey, &["cfat_", "cfut_", "cfk_"], r"cf(?:at|ut|k)_[0-9A-Za-z_-]{40,}", "cfut_*48"),
    led(Lead::Base64(24), token("azure-signed-key", CloudKey, &["JQQJ99"], r"JQQJ99[0-9A-Za-z+/]{8,}={0,2}", "*52JQQJ99*20==")),
    led(Lead::Base64(28), token("azure-marked-key", CloudKey, &["+ASt", "+ABa", "+AMC", "+ARm", "AIoT", "AzCa", "AzFu", "AzSe", "APIM"], r"(?:\+(?:ASt|ABa|AMC|ARm)|AIoT|AzCa|AzFu|AzSe|APIM)[0-9A-Za-z+/]{5,10}(?:=|==)", "*32AzSe*8=")),
    led(Lead::Azure, token("azure-client-secret", CloudKey, &["Q~"], r"Q~[0-9A-Za-z_~.-]{31,34}", "abc8Q~*32")),
    token("aws-session-token", CloudKey, &["FwoG", "IQoJ"], r"(?:FwoG|IQoJ)[0-9A-Za-z+/=]{100,}", "IQoJ*200"),
    token("exoscale-key", CloudKey, &["EXO"], r"EXO[0-9a-f]{24,}\b", "EXO%24"),
    token("render-neon-key", CloudKey, &["rnd_", "napi_"], r"(?:rnd_[0-9A-Za-z]{28,}|napi_[0-9a-z]{50,})", "rnd_*32"),
    token("cockroach-mongodb-key", CloudKey, &["CCDB1_", "mdb_sa_sk_"], r"(?:CCDB1_[0-9A-Za-z]{22}_[0-9A-Za-z]{40}|mdb_sa_sk_[0-9A-Za-z_-]{30,})", "CCDB1_*22_*40"),
    token("swarm-token", CloudKey, &["SWMTKN-1-"], r"SWMTKN-1-[0-9a-z]{50}-[0-9a-z]{25}", "SWMTKN-1-%50-%25"),
    token("openshift-token", CloudKey, &["sha256~"], r"sha256~[0-9A-Za-z_-]{43}", "sha256~*43"),
    token("google-recaptcha-key", CloudKey, &["6L"], r"6L[0-9A-Za-z_-]{6}AAAAA[0-9A-Za-z_-]{27}\b", "6L*6AAAAA*27"),
    led(Lead::Name, token("google-fcm-key", CloudKey, &[":APA91b"], r":APA91b[0-9A-Za-z_-]{100,}", "*11:APA91b*134")),
    token("baidu-cloud-key", CloudKey, &["bce-v3/"], r"bce-v3/ALTAK-[0-9A-Za-z]{10,}/[0-9a-f]{30,}", "bce-v3/ALTAK-*21/%40"),
    // Chat, mail and social networks.
    led(Lead::Hex(32), token("mailchimp-key", ServiceToken, &["-us1", "-us2", "-us3", "-us4", "-us5", "-us6", "-us7", "-us8", "-us9"], r"-us\d{1,2}\b", "%32-us12")),
    token("resend-key", ServiceToken, &["re_"], r"re_[0-9A-Za-z]{6,10}_[0-9A-Za-z]{20,}", "re_*8_*24"),
    token("onesignal-key", ServiceToken, &["os_v2_app_", "os_v2_org_"], r"os_v2_(?:app|org)_[a-z2-7]{60,}", "os_v2_app_abcdefghijklmnopqrstuvwxyz234567abcdefghijklmnopqrstuvwxyz234567abcdefghij"),
    token("twitch-token", ChatToken, &["oauth:"], r"oauth:[0-9a-z]{30}\b", "oauth:%30"),
    token("vk-token", ChatToken, &["vk1.a."], r"vk1\.a\.[0-9A-Za-z_-]{60,}", "vk1.a.*180"),
    token("intercom-token", ChatToken, &["dG9r"], r"dG9r[0-9A-Za-z+/]{40,}={0,2}", "dG9r*56"),
    led(Lead::Name, token("salesforce-session", ServiceToken, &["!AQ", "!AR"], r"!A[QR][0-9A-Za-z._]{60,}", "00D*12!AQ*90")),
    token("salesforce-organisation-session", ServiceToken, &["00D"], r"00D[0-9A-Za-z]{12,15}![0-9A-Za-z._]{60,}", "00D*12!C*90"),
    token("salesforce-key", ServiceToken, &["3MVG9", "5Aep8"], r"(?:3MVG9|5Aep8)[0-9A-Za-z_.]{60,}", "3MVG9*80"),
    token("wechat-app-id", ChatToken, &["wx"], r"wx[0-9a-f]{16}\b", "wx%16"),
    token("akamai-token", CloudKey, &["akab-"], r"akab-[0-9a-z]{16}-[0-9a-z]{16}", "akab-%16-%16"),
    led(Lead::Base64(30), token("newrelic-license-key", ServiceToken, &["NRAL"], r"NRAL\b", "%36NRAL")),
    // Forges and builders.
    token("buildkite-token", ForgeToken, &["bkua_", "bkct_"], r"bk[a-z]{2}_[0-9a-z]{32,}", "bkua_%40"),
    token("harness-token", ForgeToken, &["pat.", "sat."], r"[ps]at\.[0-9A-Za-z_-]{22}\.[0-9a-f]{24}\.[0-9A-Za-z]{20}", "pat.*22.%24.*20"),
    token("trello-token", ServiceToken, &["ATTA"], r"ATTA[0-9a-fA-F]{60,}", "ATTA%72"),
    token("dropbox-token", ServiceToken, &["sl."], r"sl\.(?:u\.)?[0-9A-Za-z_-]{60,}", "sl.*138"),
    token("contentful-token", ServiceToken, &["CFPAT-"], r"CFPAT-[0-9A-Za-z_-]{40,}", "CFPAT-*43"),
    token("honeycomb-axiom-key", ServiceToken, &["hcaik_", "hcbik_", "hcxik_", "hcamk_", "xaat-", "xapt-"], r"(?:hc[a-z]{3}_[0-9a-z]{30,}|xa[ap]t-[0-9a-f-]{36})", "hcaik_%58"),
    token("tinybird-token", ServiceToken, &["p.eyJ"], r"p\.eyJ[0-9A-Za-z_-]{20,}\.[0-9A-Za-z_-]{20,}", "p.eyJ*80.*40"),
    token("thingsboard-token", ServiceToken, &["api/v1/"], r"api/v1/(?<value>[0-9A-Za-z]{20})/(?:telemetry|attributes|rpc|claim)", "/api/v1/%20/telemetry"),
    token("secret-token-uri", ServiceToken, &["secret-token:"], r"secret-token:[0-9A-Za-z._~%+/=:-]{8,}", "secret-token:*30"),
    token("onfido-token", ServiceToken, &["api_live", "api_sandbox"], r"api_(?:live|sandbox)(?:_[a-z]{2})?\.[0-9A-Za-z_-]{11}\.[0-9A-Za-z_-]{32}", "api_live.*11.*32"),
    // Payment.
    token("lob-mollie-key", PaymentKey, &["live_", "test_"], r"(?:live|test)_(?:pub_)?[0-9A-Za-z]{30,40}\b", "live_%35"),
    token("paypal-token", PaymentKey, &["A21AA"], r"A21AA[0-9A-Za-z_-]{60,}", "A21AA*92"),
    token("paddle-polar-key", PaymentKey, &["pdl_live_apikey_", "pdl_sdbx_apikey_", "polar_pat_", "polar_oat_"], r"(?:pdl_(?:live|sdbx)_apikey_|polar_[po]at_)[0-9A-Za-z_]{20,}", "polar_pat_*40"),
    // Model providers.
    token("model-provider-key", AiKey, &["pa-", "ak-", "as-", "fc-", "rpa_", "esecret_", "BSA"], r"(?:pa-[0-9A-Za-z_-]{40,}|a[ks]-[0-9A-Za-z]{22}|fc-[0-9a-f]{32}|rpa_[0-9A-Za-z]{30,}|esecret_[0-9a-z]{20,}|BSA[0-9A-Za-z_-]{27,28})\b", "fc-%32"),
    // Keys as JSON carries them (RFC 7518), and what Windows sends.
    token("json-web-key", PrivateKey, &["\"d\"", "\"k\"", "\"p\"", "\"q\"", "\"dp\"", "\"dq\"", "\"qi\""], r#""(?:d|k|p|q|dp|dq|qi)"\s?:\s?"(?<value>[0-9A-Za-z_-]{20,})""#, "\"d\": \"*43\""),
    token("ntlm-message", Jwt, &["TlRMTVNTUAA"], r"TlRMTVNTUAA[0-9A-Za-z+/]{20,}={0,2}", "TlRMTVNTUAADAAAA*80"),
    token("age-recipient", CryptoAddress, &["age1"], r"age1[02-9ac-hj-np-z]{58}\b", "age1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdqqar0srrr7xfkvy5l643"),
    // Anything that is signed or wrapped.
    token("jwt", Jwt, &["eyJ"], r"eyJ[0-9A-Za-z_=-]{10,}\.(?:eyJ|[0-9A-Za-z_=-]{6})[0-9A-Za-z_=+/-]*(?:\.[0-9A-Za-z_=+/-]*){0,3}", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.*43"),
    token("base64-private-key", PrivateKey, &["LS0tLS1CRUdJTi"], r"LS0tLS1CRUdJTi[0-9A-Za-z+/=_-]{20,}", "LS0tLS1CRUdJTiBSU0EgUFJJVkFURSBLRVkt*60"),
    token("key-in-der", PrivateKey, &["MII", "MHcCAQEE", "MHQCAQEE", "MIGHAgEA", "MIGTAgEA", "MIGkAgEBB", "MIHcAgEBB", "MC4CAQAw"], r"(?:MII[A-P][0-9A-Za-z+/][AQgw]IBA[0-9A-Za-z+/\\=]{40,}|MH[cQ]CAQEE[0-9A-Za-z+/=]{40,}|MIG[HT]AgEA[0-9A-Za-z+/=]{40,}|MI(?:Gk|Hc)AgEBB[0-9A-Za-z+/=]{40,}|MC4CAQAw[0-9A-Za-z+/=]{40,})", "MIIEvQIBADANBgkqhkiG9w0BAQEFAASC*60"),
    token("putty-private-key", PrivateKey, &["PuTTY-User-Key-File-"], r"PuTTY-User-Key-File-\d:(?s:.){0,12000}?Private-MAC: [0-9a-f]+", "PuTTY-User-Key-File-2: ssh-rsa\nPrivate-MAC: %40"),
    token("elevenlabs-ticket-key", ServiceToken, &["sk_", "pk_", "odt_", "phr_", "phs_", "pha_", "NF-", "hawk.", "sgp_"], r"(?:sk_[0-9a-f]{32,}|[sp]k_\d{4,}_[0-9A-Z]{20,}|odt_[0-9A-Za-z_]{30,}|ph[rsa]_[0-9A-Za-z]{30,}|NF-[0-9A-Za-z]{32}|hawk\.[0-9A-Za-z_-]{16,}\.[0-9A-Za-z_-]{16,}|sgp_[0-9a-fA-F]{16}_local_[0-9a-fA-F]{40})\b", "odt_*36"),
    // Hashes of passwords.
    token("bcrypt-hash", PasswordHash, &["$2a$", "$2b$", "$2y$", "$2x$"], r"\$2[abxy]\$\d\d\$[0-9A-Za-z./]{53}", "$2b$12$*53"),
    token("crypt-hash", PasswordHash, &["$1$", "$5$", "$6$", "$8$", "$9$", "$y$", "$apr1$", "$md5$", "$P$", "$H$", "$DCC2$", "$NT$", "$LM$"], r"\$(?:(?:1|5|6|8|9|y|apr1|md5)\$(?:rounds=\d+\$)?[0-9A-Za-z./]{1,24}(?:\$[0-9A-Za-z./]{20,90})+|[PH]\$[0-9A-Za-z./]{31}|(?i:DCC2|NT|LM)\$(?:\d+#[^#\s]+#)?[0-9a-f]{16,32})", "$6$*16$*86"),
    token("argon2-hash", PasswordHash, &["$argon2", "$scrypt$", "$pbkdf2", "$krb5"], r"\$(?:argon2|scrypt|pbkdf2|krb5)[0-9A-Za-z=,$+/.@:*_-]{30,}", "$argon2id$v=19$m=65536,t=3,p=4$*22$*43"),
    token("ldap-hash", PasswordHash, &["{SSHA", "{SHA", "{SMD5}", "{MD5}", "{CRYPT}", "{PBKDF2"], r"\{(?:S?SHA(?:224|256|384|512)?|S?MD5|CRYPT|PBKDF2[0-9A-Z-]*)\}[0-9A-Za-z+/=$.]{16,}", "{SSHA}*32"),
    token("django-hash", PasswordHash, &["pbkdf2_sha256$", "pbkdf2_sha1$", "bcrypt_sha256$", "sha1$", "md5$"], r"(?:pbkdf2_sha\d+\$\d+\$[0-9A-Za-z./+]{4,}\$[0-9A-Za-z./+=]{20,}|(?:sha1|md5)\$[0-9A-Za-z]{1,}\$[0-9a-f]{32,})", "pbkdf2_sha256$260000$*12$*43="),
    // Crypto addresses that say what they are.
    token("bitcoin-segwit-address", CryptoAddress, &["bc1q", "bc1p", "ltc1"], r"(?:bc1[qp]|ltc1)[02-9ac-hj-np-z]{20,90}", "bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq"),
    token("ethereum-address", CryptoAddress, &["0x"], r"0x[0-9a-fA-F]{40}\b", "0x52908400098527886E0F7030069857D2E4169EE7"),
    token("azure-shared-key", CloudKey, &["AccountKey=", "SharedAccessKey=", "SharedSecret="], r"(?:AccountKey|SharedAccessKey|SharedSecret)=[0-9A-Za-z+/=%]{30,}", "AccountKey=*86=="),
    token("azure-sas", CloudKey, &["sig="], r"sig=[0-9A-Za-z+/%_-]{30,}=?", "sig=*43%3D"),
    token("basic-auth-docker", BasicAuth, &["\"auth\":"], r#""auth": ?"[0-9A-Za-z+/=]{12,}"#, "\"auth\": \"*24"),
];

/// An example written out: the same letters every time.
pub(crate) fn expand(example: &str) -> String {
    const ALPHABET: &[u8] = b"Zq7tK2bX9wLm4RvJ8cGd5PyN3sFh6TkBaUeQjW1x";
    const CAPITALS: &[u8] = b"Q7K2BX9WLM4RVJ8CGD5PYN3SFH6T";
    const HEX: &[u8] = b"7fa3c2e19b04d5866e1f";
    let mut expanded = String::new();
    let mut rest = example.chars().peekable();
    while let Some(character) = rest.next() {
        let alphabet = match character {
            '*' => ALPHABET,
            '^' => CAPITALS,
            '%' => HEX,
            '#' => b"4820175963",
            _ => {
                expanded.push(character);
                continue;
            }
        };
        let mut count = 0;
        while let Some(digit) = rest.peek().and_then(|next| next.to_digit(10)) {
            count = count * 10 + digit as usize;
            rest.next();
        }
        if count == 0 {
            expanded.push(character);
        }
        expanded.extend(
            alphabet
                .iter()
                .cycle()
                .take(count)
                .map(|byte| char::from(*byte)),
        );
    }
    expanded
}
