//! National identifiers made of digits, with their check digits.
//!
//! Nine to fourteen digits that pass a check are everywhere among numbers, so an identifier counts
//! where a word says what it is, where it is all there is, or where its grouping is nobody
//! else's. The checks are those that the issuing authorities publish.

use std::sync::LazyLock;

use super::run::Window;
use crate::detect::{
    checksum::{iso_11_10, luhn, remainder, verhoeff, weighted},
    kind::Kind::{self, BankAccount, DrivingLicence, HealthId, NationalId},
    numbered,
    words::{Context, Topic},
};

/// One identifier.
pub(crate) struct Identifier {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    lengths: &'static [usize],
    holds: fn(&[u8]) -> bool,
    /// Groupings that are enough without a word.
    shapes: &'static [&'static str],
    /// Whether it is taken for one if it is all there is.
    alone: bool,
    pub(crate) words: &'static [&'static str],
    /// One that holds.
    pub(crate) example: &'static str,
}

impl Identifier {
    /// Whether it is one country's, not any number of which a word says that it is one.
    pub(crate) fn is_specific(&self) -> bool {
        !self.name.starts_with("any-")
    }
}

/// The identifier that the window is.
pub(crate) fn find(context: &Context<'_>, window: Window<'_>) -> Option<&'static Identifier> {
    let digits = window.digits();
    if !(6..=LONGEST).contains(&digits.len()) || !window.stands_free(context.text) {
        return None;
    }
    let (start, end) = (window.start(), window.end());
    let is_alone = context.is_alone(start, end);
    let mut near = None;
    BY_LENGTH[digits.len()].iter().find_map(|&place| {
        let identifier = &IDENTIFIERS[usize::from(place)];
        if !(identifier.holds)(digits) {
            return None;
        }
        let generic = match identifier.kind {
            HealthId => Topic::Health,
            BankAccount => Topic::Bank,
            DrivingLicence => Topic::Licence,
            Kind::Passport => Topic::Passport,
            _ => Topic::Identity,
        };
        let is_long = !identifier.is_specific() && digits.len() > LONGEST_BY_KIND;
        let mut is_told = || {
            let near = near.get_or_insert_with(|| context.topics_near(start, end));
            near.contains(&Topic::Identifier(place)) || !is_long && near.contains(&generic)
        };
        let fits = (identifier.alone && is_alone)
            || (window.groups() > 1
                && identifier
                    .shapes
                    .iter()
                    // Groups with blanks between them are a part of whatever goes on.
                    .filter(|shape| window.is_whole_run() || !shape.contains(' '))
                    .any(|shape| window.has_shape(shape)))
            || is_told()
            || (identifier.name == NUMBERED && is_numbered(context, window));
        fits.then_some(identifier)
    })
}

/// How many digits an identifier has at most.
const LONGEST: usize = 26;

/// The places of those with so many digits, in the table's order.
static BY_LENGTH: LazyLock<[Vec<u8>; LONGEST + 1]> = LazyLock::new(|| {
    std::array::from_fn(|length| {
        (0..)
            .zip(IDENTIFIERS)
            .filter(|(_, identifier)| identifier.lengths.contains(&length))
            .map(|(place, _)| place)
            .collect()
    })
});

/// More digits are told by their own words alone: an account whose check digits do not hold is none.
const LONGEST_BY_KIND: usize = 17;
/// What has a number that no table knows.
const NUMBERED: &str = "any-identifier";

/// Whether a word before the window calls it somebody's number.
fn is_numbered(context: &Context<'_>, window: Window<'_>) -> bool {
    const DATES: [&str; 5] = ["4-2-2", "2-2-4", "2/2/4", "4/2/2", "2 2 4"];
    let (start, end) = (window.start(), window.end());
    window.is_whole_run()
        && numbered::is_numbered(context, start)
        && !DATES.into_iter().any(|date| window.has_shape(date))
        && !numbered::is_quantity(context.text, start, end)
}

const fn id(
    name: &'static str,
    lengths: &'static [usize],
    holds: fn(&[u8]) -> bool,
    shapes: &'static [&'static str],
    words: &'static [&'static str],
    example: &'static str,
) -> Identifier {
    Identifier {
        name,
        kind: NationalId,
        lengths,
        holds,
        shapes,
        alone: true,
        words,
        example,
    }
}

const fn of_kind(kind: Kind, alone: bool, identifier: Identifier) -> Identifier {
    Identifier {
        kind,
        alone,
        ..identifier
    }
}

/// Every known one.
#[rustfmt::skip]
pub(crate) static IDENTIFIERS: &[Identifier] = &[
    id("us-ssn", &[9], us_ssn, &["3-2-4", "3 2 4"], &["ssn", "social security", "social-security", "soc sec"], "219-09-9998"),
    id("us-itin", &[9], us_itin, &["3-2-4", "3 2 4", "3-6", "5-4"], &["itin", "taxpayer", "tax id"], "911-70-1234"),
    of_kind(HealthId, true, id("us-npi", &[10], us_npi, &[], &["npi", "provider identifier", "national provider"], "1234567893")),
    of_kind(BankAccount, true, id("us-aba-routing", &[9], us_routing, &["4-4-1"], &["routing", "aba", "rtn"], "011000015")),
    of_kind(HealthId, true, id("uk-nhs", &[10], uk_nhs, &[], &["nhs", "national health", "health service"], "943 476 5919")),
    id("uk-utr", &[10], |d| weighted(&d[1..], &[6, 7, 8, 9, 10, 5, 4, 3, 2]) % 11 == [2, 1, 9, 8, 7, 6, 5, 4, 3, 2, 1].iter().position(|c| *c == d[0]).map_or(99, |r| r as u32), &[], &["utr", "unique taxpayer"], "1955839661"),
    id("ca-sin", &[9], |d| luhn(d) && !matches!(d[0], 0 | 8), &[], &["sin", "social insurance", "nas"], "130 692 544"),
    id("de-tax-id", &[11], de_tax_id, &[], &["steuer", "steuernummer", "steueridentifikationsnummer", "idnr", "tin", "steuer-id"], "86095742719"),
    of_kind(HealthId, true, id("de-doctor-number", &[9], |d| { let s: u32 = weighted(&d[..6], &[4, 9, 4, 9, 4, 9]); (10 - s % 10) % 10 == u32::from(d[6]) && d[7..] != [0, 0] }, &[], &["lanr", "arztnummer"], "123456601")),
    id("fr-nir", &[15], fr_nir, &["1 2 2 2 3 3 2"], &["nir", "sécurité sociale", "numéro de sécurité sociale", "n° ss", "nº ss", "n° sécu", "n° de sécurité sociale", "securite sociale", "insee", "numéro de sécu", "num_secu", "num_ss"], "255081416802538"),
    id("fr-siren", &[9], luhn, &[], &["siren"], "732829320"),
    id("fr-siret", &[14], luhn, &[], &["siret"], "73282932000074"),
    id("it-vat", &[11], |d| luhn(d) && d[..7] != [0; 7], &[], &["partita iva", "p.iva", "piva", "partita"], "01333550323"),
    id("pt-nif", &[9], |d| matches!(d[0], 1..=3 | 5 | 6 | 8 | 9) && check_11(&d[..8], &[9, 8, 7, 6, 5, 4, 3, 2], d[8]), &[], &["nif", "contribuinte"], "501442600"),
    id("nl-bsn", &[9], |d| (weighted(&d[..8], &[9, 8, 7, 6, 5, 4, 3, 2]) + 11 * 9 - u32::from(d[8])).is_multiple_of(11), &["4.2.3"], &["bsn", "burgerservicenummer", "sofinummer"], "111222333"),
    id("be-national-number", &[11], be_number, &["2.2.2-3.2", "2.2.2-3 2"], &["rijksregister", "registre national", "insz", "niss", "national register"], "85073003328"),
    id("ch-ahv", &[13], |d| d.starts_with(&[7, 5, 6]) && ean(d), &["3.4.4.2"], &["ahv", "avs", "oasi"], "756.9217.0769.85"),
    id("at-svnr", &[10], |d| is_date(&d[4..6], &d[6..8]) && weighted(d, &[3, 7, 9, 0, 5, 8, 4, 2, 1, 6]) % 11 == u32::from(d[3]), &[], &["svnr", "sozialversicherungsnummer", "versicherungsnummer"], "1237010180"),
    id("se-personnummer", &[10, 12], se_personnummer, &["6-4", "8-4"], &["personnummer", "pnr", "samordningsnummer", "personal identity"], "811228-9874"),
    id("se-organisationsnummer", &[10], |d| d[2] >= 2 && luhn(d), &["6-4"], &["organisationsnummer", "orgnr", "company identity"], "212000-0142"),
    id("no-fodselsnummer", &[11], |d| check_11(&d[..9], &[3, 7, 6, 1, 8, 9, 4, 5, 2], d[9]) && check_11(&d[..10], &[5, 4, 3, 2, 7, 6, 5, 4, 3, 2], d[10]) && is_date_flexible(&d[2..4], &d[..2]), &["6 5"], &["fødselsnummer", "fodselsnummer", "personnummer", "fnr"], "01010750160"),
    of_kind(NationalId, false, id("dk-cpr", &[10], |d| is_date(&d[2..4], &d[..2]), &["6-4"], &["cpr", "personnummer"], "211062-5629")),
    id("pl-pesel", &[11], |d| (10 - weighted(&d[..10], &[1, 3, 7, 9, 1, 3, 7, 9, 1, 3]) % 10) % 10 == u32::from(d[10]), &[], &["pesel"], "44051401458"),
    id("pl-nip", &[10], |d| weighted(&d[..9], &[6, 5, 7, 2, 3, 4, 5, 6, 7]) % 11 == u32::from(d[9]), &["3-3-2-2", "3-2-2-3"], &["nip"], "5260250274"),
    id("pl-regon", &[9], |d| weighted(&d[..8], &[8, 9, 2, 3, 4, 5, 6, 7]) % 11 % 10 == u32::from(d[8]), &[], &["regon"], "123456785"),
    id("cz-sk-birth-number", &[10], |d| remainder(d, 11) == 0 && matches!(d[2] * 10 + d[3], 1..=12 | 21..=32 | 51..=62 | 71..=82), &["6/4"], &["rodné číslo", "rodne cislo", "rodné", "rč"], "710319/2745"),
    id("hu-taj", &[9], |d| weighted(&d[..8], &[3, 7, 3, 7, 3, 7, 3, 7]) % 10 == u32::from(d[8]), &[], &["taj"], "111111110"),
    id("ro-cnp", &[13], |d| { let r = weighted(&d[..12], &[2, 7, 9, 1, 4, 6, 3, 5, 8, 2, 7, 9]) % 11; (if r == 10 { 1 } else { r }) == u32::from(d[12]) && is_date(&d[3..5], &d[5..7]) && d[0] > 0 }, &[], &["cnp", "cod numeric"], "1800101221144"),
    id("bg-egn", &[10], |d| weighted(&d[..9], &[2, 4, 8, 5, 10, 9, 7, 3, 6]) % 11 % 10 == u32::from(d[9]) && matches!(d[2] * 10 + d[3], 1..=12 | 21..=32 | 41..=52), &[], &["egn", "егн", "ЕГН"], "7523169263"),
    id("gr-amka", &[11], |d| luhn(d) && is_date(&d[2..4], &d[..2]), &[], &["amka", "αμκα", "ΑΜΚΑ"], "01013099997"),
    id("gr-afm", &[9], |d| weighted(&d[..8], &[0, 128, 64, 32, 16, 8, 4, 2]) .wrapping_add(u32::from(d[0]) * 256) % 11 % 10 == u32::from(d[8]), &[], &["afm", "αφμ", "ΑΦΜ"], "094259216"),
    id("hr-oib", &[11], iso_11_10, &[], &["oib"], "94577403194"),
    id("ex-yu-jmbg", &[13], |d| { let s: u32 = (0..6).map(|i| (7 - i as u32) * (u32::from(d[i]) + u32::from(d[i + 6]))).sum(); let c = 11 - s % 11; (if c > 9 { 0 } else { c }) == u32::from(d[12]) && is_date(&d[2..4], &d[..2]) }, &[], &["jmbg", "emšo", "EMŠO", "emso", "matični broj"], "0101006500006"),
    id("ee-lt-personal-code", &[11], ee_lt_code, &[], &["isikukood", "asmens kodas", "personal code"], "37605030299"),
    id("lv-personas-kods", &[11], |d| { let s = weighted(&d[..10], &[1, 6, 3, 7, 9, 10, 5, 8, 4, 2]); (1101 - s) % 11 == u32::from(d[10]) && is_date(&d[2..4], &d[..2]) }, &["6-5"], &["personas kods"], "161175-19997"),
    id("tr-tckn", &[11], tr_tckn, &[], &["tckn", "kimlik", "t.c."], "10000000146"),
    id("ru-inn", &[10, 12], ru_inn, &[], &["inn", "инн", "ИНН"], "7830002293"),
    id("ru-snils", &[11], |d| { let s = weighted(&d[..9], &[9, 8, 7, 6, 5, 4, 3, 2, 1]) % 101 % 100; s == u32::from(d[9]) * 10 + u32::from(d[10]) }, &["3-3-3 2", "3-3-3-2"], &["snils", "снилс", "СНИЛС"], "112-233-445 95"),
    id("ua-rnokpp", &[10], |d| { let s = i64::from(weighted(&d[1..9], &[5, 7, 9, 4, 6, 10, 5, 7])) - i64::from(d[0]); s.rem_euclid(11) % 10 == i64::from(d[9]) }, &[], &["rnokpp", "рнокпп", "РНОКПП", "іпн", "ІПН"], "1759013776"),
    id("il-teudat-zehut", &[9], luhn, &[], &["teudat", "תעודת זהות", "israeli id"], "123456782"),
    id("in-aadhaar", &[12], |d| d[0] > 1 && verhoeff(d), &["4 4 4", "4-4-4", "4:4:4"], &["aadhaar", "aadhar", "uidai", "आधार"], "2341 2341 2346"),
    id("cn-resident-id", &[18], |d| cn_resident_id(&d[..17], Some(d[17])), &[], &["身份证", "resident id", "居民"], "440524188001010014"),
    id("jp-my-number", &[12], |d| { let s: u32 = (1..=11).map(|n: usize| u32::from(d[11 - n]) * (if n <= 6 { n as u32 + 1 } else { n as u32 - 5 })).sum(); let r = s % 11; (if r <= 1 { 0 } else { 11 - r }) == u32::from(d[11]) }, &[], &["my number", "マイナンバー", "個人番号"], "123456789018"),
    of_kind(NationalId, true, id("kr-rrn", &[13], |d| is_date(&d[2..4], &d[4..6]) && (1..=8).contains(&d[6]), &["6-7"], &["rrn", "주민등록번호", "resident registration", "frn", "외국인등록번호"], "960121-1234567")),
    id("kr-brn", &[10], |d| { let s = weighted(&d[..9], &[1, 3, 7, 1, 3, 7, 1, 3, 5]) + u32::from(d[8]) * 5 / 10; (10 - s % 10) % 10 == u32::from(d[9]) }, &["3-2-5"], &["brn", "사업자등록번호"], "104-86-56659"),
    of_kind(DrivingLicence, false, id("kr-driving-licence", &[12], |d| (11..=28).contains(&(d[0] * 10 + d[1])), &["2-2-6-2"], &["운전면허"], "11-22-123456-12")),
    id("th-national-id", &[13], |d| d[0] > 0 && d[1] > 0 && (11 - weighted(&d[..12], &[13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2]) % 11) % 10 == u32::from(d[12]), &["1-4-5-2-1", "1 4 5 2 1"], &["thai id", "tnin", "เลขประจำตัวประชาชน", "บัตรประชาชน"], "3456789012347"),
    of_kind(NationalId, false, id("my-nric", &[12], |d| is_date(&d[2..4], &d[4..6]), &["6-2-4"], &["mykad", "nric", "kad pengenalan"], "850101-14-5555")),
    of_kind(NationalId, false, id("id-nik", &[16], |d| matches!(d[0], 1..=9) && is_date_flexible(&d[8..10], &d[6..8]), &[], &["nik", "ktp"], "3171230101900001")),
    id("au-tfn", &[9], |d| weighted(d, &[1, 4, 3, 7, 5, 8, 6, 9, 10]).is_multiple_of(11), &[], &["tfn", "tax file"], "876543210"),
    id("au-abn", &[11], |d| d[0] > 0 && (weighted(d, &[10, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19]) - 10).is_multiple_of(89), &["2 3 3 3"], &["abn", "business number"], "51 824 753 556"),
    id("au-acn", &[9], |d| (10 - weighted(&d[..8], &[8, 7, 6, 5, 4, 3, 2, 1]) % 10) % 10 == u32::from(d[8]), &[], &["acn", "company number"], "004 085 616"),
    of_kind(HealthId, true, id("au-medicare", &[10, 11], |d| matches!(d[0], 2..=6) && weighted(&d[..8], &[1, 3, 7, 9, 1, 3, 7, 9]) % 10 == u32::from(d[8]), &["4 5 1"], &["medicare"], "2123456701")),
    id("nz-ird", &[8, 9], nz_ird, &[], &["ird"], "49-091-850"),
    id("za-id", &[13], |d| luhn(d) && is_date(&d[2..4], &d[4..6]) && d[10] <= 2, &[], &["south african", "id:", "sa id", "id number", "resident number"], "8001015009087"),
    id("br-cpf", &[11], br_cpf, &["3.3.3-2"], &["cpf"], "111.444.777-35"),
    id("br-cnpj", &[14], br_cnpj, &["2.3.3/4-2"], &["cnpj"], "11.222.333/0001-81"),
    of_kind(BankAccount, true, id("mx-clabe", &[18], |d| (10 - d[..17].iter().zip([3_u32, 7, 1].into_iter().cycle()).map(|(x, w)| u32::from(*x) * w % 10).sum::<u32>() % 10) % 10 == u32::from(d[17]), &[], &["clabe"], "032180000118359719")),
    id("ar-cuit", &[11], |d| { let c = 11 - weighted(&d[..10], &[5, 4, 3, 2, 7, 6, 5, 4, 3, 2]) % 11; (match c { 11 => 0, 10 => 9, c => c }) == u32::from(d[10]) }, &["2-8-1"], &["cuit", "cuil"], "20-12345678-6"),
    id("cl-rut", &[8, 9], |d| cl_rut(&d[..d.len() - 1]) == u32::from(d[d.len() - 1]), &["2.3.3-1", "1.3.3-1"], &["rut"], "12.345.678-5"),
    id("co-nit", &[10], |d| { let r = weighted(&d[..9], &[41, 37, 29, 23, 19, 17, 13, 7, 3]) % 11; (if r > 1 { 11 - r } else { r }) == u32::from(d[9]) }, &["3.3.3-1"], &["nit"], "899.999.068-1"),
    id("ec-cedula", &[10], |d| luhn(d) && matches!(d[0] * 10 + d[1], 1..=24) && d[2] < 6, &[], &["cédula", "cedula"], "1710034065"),
    id("uy-ci", &[8], |d| (10 - weighted(&d[..7], &[2, 9, 8, 7, 6, 3, 4]) % 10) % 10 == u32::from(d[7]), &["1.3.3-1"], &["cédula", "cedula"], "1.234.567-2"),
    id("ae-emirates-id", &[15], |d| d.starts_with(&[7, 8, 4]) && luhn(d), &["3-4-7-1"], &["emirates id", "الهوية"], "784-1984-7709145-2"),
    of_kind(NationalId, false, id("sa-national-id", &[10], |d| matches!(d[0], 1 | 2) && luhn(d), &[], &["iqama", "saudi", "الهوية"], "1034165389")),
    of_kind(NationalId, false, id("eg-national-id", &[14], |d| matches!(d[0], 2 | 3) && is_date(&d[3..5], &d[5..7]), &[], &["egyptian", "الرقم القومي"], "29001011234567")),
    of_kind(NationalId, false, id("pk-cnic", &[13], |d| d[0] > 0, &["5-7-1"], &["cnic", "nadra"], "35202-1234567-1")),
    of_kind(NationalId, false, id("ng-nin", &[11], |d| d[0] > 0, &[], &["nin", "bvn"], "70123456789")),
    id("is-kennitala", &[10], |d| check_11(&d[..8], &[3, 2, 7, 6, 5, 4, 3, 2], d[8]) && matches!(d[9], 0 | 9) && is_date_flexible(&d[2..4], &d[..2]), &["6-4"], &["kennitala"], "120174-4879"),
    id("kz-iin", &[12], |d| is_date(&d[2..4], &d[4..6]) && (1..=6).contains(&d[6]) && kz_check(d) == u32::from(d[11]), &[], &["iin", "иин", "ИИН", "жсн", "ЖСН"], "870315301249"),
    of_kind(NationalId, false, id("ir-national-code", &[10], |d| { let r = weighted(&d[..9], &[10, 9, 8, 7, 6, 5, 4, 3, 2]) % 11; (if r < 2 { r } else { 11 - r }) == u32::from(d[9]) }, &[], &["کد ملی", "code melli"], "9665537199")),
    of_kind(NationalId, false, id("vn-cccd", &[12], |d| d[0] == 0, &[], &["cccd", "căn cước"], "001099012345")),
    of_kind(NationalId, false, id("us-ein", &[9], |d| d[..2] != [0, 0], &[], &["ein", "employer identification"], "12-3456789")),
    of_kind(NationalId, false, id("do-cedula", &[11], luhn, &["3-7-1"], &["cédula", "cedula"], "001-3159648-8")),
    of_kind(NationalId, false, id("pe-ruc", &[11], |d| matches!(d[..2], [1, 0 | 5 | 7] | [2, 0]), &[], &["ruc"], "20131312955")),
    of_kind(NationalId, false, id("co-cedula", &[7, 8, 10], |d| d[0] > 0, &[], &["cédula de ciudadanía", "cedula de ciudadania", "cédula", "cedula"], "1032456789")),
    of_kind(NationalId, false, id("dk-cvr", &[8], |d| d[0] > 0, &[], &["cvr"], "25313763")),
    of_kind(NationalId, false, id("no-organisation-number", &[9], |d| matches!(d[0], 8 | 9) && check_11(&d[..8], &[3, 2, 7, 6, 5, 4, 3, 2], d[8]), &[], &["orgnr", "organisasjonsnummer"], "923609016")),
    id("lu-national-id", &[13], |d| luhn(&d[..12]) && verhoeff(&[&d[..11], &d[12..]].concat()) && is_date(&d[4..6], &d[6..8]), &[], &["matricule"], "1893120105732"),
    id("tw-ubn", &[8], |d| { let s: u32 = d.iter().zip([1_u32, 2, 1, 2, 1, 2, 4, 1]).map(|(x, w)| { let p = u32::from(*x) * w; p / 10 + p % 10 }).sum(); s.is_multiple_of(5) || (d[6] == 7 && (s + 1).is_multiple_of(5)) }, &[], &["統一編號"], "04595257"),
    of_kind(NationalId, false, id("ph-tin", &[9, 12], |d| check_11_plain(&d[..8], d[8]), &[], &["bir", "tin"], "000-123-456-001")),
    of_kind(NationalId, false, id(NUMBERED, &[6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20], |_| true, &["2.3.3-1", "5-7-1", "4-7-1", "2-7-1", "3/3/5", "2/3/5", "4-6-3-1"], &["alien registration", "utr ", "utr:", "seguridad social", "seguro social", "tarjeta sanitaria", "historia clínica", "tessera sanitaria", "cartão sus", "título de eleitor", "utente", "cartão de cidadão", "carte nationale", "ταυτότητας", "ταυτότητα", "vergi no", "ת.ז", "nid ", "nid:", "nid number", "sss", "umid", "huduma", "iqama", "полис", "полиса", "паспорт", "IČO", "ičo", "číslo op", "občanský průkaz", "personas kods", "hospital number", "chart number", "imei", "imsi", "iccid", "estonian id", "nationalid", "legitymacja", "handelsregister", "hrb", "krankenversichertennummer", "国民健康保険", "national id", "identity card", "id card", "personal id", "voter id", "citizen id", "tax id", "tax number", "employee id", "patient id", "medical record", "mrn", "member id", "policy number", "єдрпоу", "ЄДРПОУ", "nin", "bvn", "cédula", "cedula", "cnic", "emirates id", "cuit", "cuil", "dni", "fein", "employer identification", "green card", "numéro national", "hospital no", "insurance number", "insurance id", "id number", "group number", "personnummer", "matricule", "身份证"], "12345678")),
    of_kind(BankAccount, false, id("any-long-account", &[6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 26], |_| true, &[], &["nr konta", "numer konta", "conta ", "conta:", "conta corrente", "cbu", "rib:", "rib ", "rib :", "bankgiro", "plusgiro", "р/с", "расчётный счёт", "расчетный счет", "счёт", "счет", "бик", "БИК", "iban no", "kontonr", "bankkonto", "číslo účtu", "számlaszám", "cuenta bancaria", "cuenta corriente", "conto corrente", "compte bancaire", "rekening", "rekeningnummer", "hesap no", "τραπεζικός λογαριασμός", "חשבון בנק", "رقم الحساب", "खाता संख्या", "số tài khoản", "nomor rekening", "口座", "계좌", "账号", "帳號", "银行账户"], "40817810099910004312")),
    of_kind(BankAccount, false, id("any-account", &[6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17], |_| true, &["2-2-2"], &["account number", "account no", "acct", "bank account", "sort code", "kontonummer", "iban", "bsb", "swift", "ifsc"], "945456787654")),
    of_kind(DrivingLicence, false, id("any-licence", &[7, 8, 9, 10, 11, 12, 13], |_| true, &[], &["運転免許", "驾驶证", "驾照", "vezetői engedély", "řidičský průkaz", "permis de conducere", "körkort", "førerkort", "ajokortti", "rijbewijs", "carta de condução", "δίπλωμα οδήγησης", "רישיון נהיגה", "رخصة القيادة", "ใบขับขี่", "bằng lái xe", "sim card no", "driver license", "driver's license", "drivers license", "driving licence", "driver licence", "führerschein", "permis de conduire"], "123456789")),
    of_kind(Kind::Passport, false, id("any-passport", &[8, 9, 10], |_| true, &[], &["paszport", "paszportu", "паспорта", "διαβατηρίου", "διαβατήριο", "جواز", "گذرنامه", "דרכון", "hộ chiếu", "หนังสือเดินทาง", "útlevél", "pașaport", "passaporte", "cestovní pas", "putovnica", "пасспорт", "загранпаспорт", "passport", "pasaporte", "passeport", "reisepass", "passaporto", "travel document", "여권번호"], "912803456")),
];

/// The check of a thirteen-digit article number, which Swiss social security numbers share.
fn ean(d: &[u8]) -> bool {
    weighted(d, &[1, 3, 1, 3, 1, 3, 1, 3, 1, 3, 1, 3, 1]).is_multiple_of(10)
}

fn us_ssn(d: &[u8]) -> bool {
    let (area, group, serial) = (&d[..3], &d[3..5], &d[5..]);
    area != [0; 3]
        && area != [6; 3]
        && group != [0; 2]
        && serial != [0; 4]
        && d[0] < 9
        && d != [0, 7, 8, 0, 5, 1, 1, 2, 0]
        && d != [1, 2, 3, 4, 5, 6, 7, 8, 9]
}

fn us_itin(d: &[u8]) -> bool {
    let group = d[3] * 10 + d[4];
    d[0] == 9 && matches!(group, 50..=65 | 70..=88 | 90..=92 | 94..=99)
}

fn us_npi(d: &[u8]) -> bool {
    matches!(d[0], 1 | 2) && luhn(&[&[8, 0, 8, 4, 0], d].concat())
}

fn us_routing(d: &[u8]) -> bool {
    matches!(d[0] * 10 + d[1], 0..=12 | 21..=32 | 61..=72 | 80)
        && weighted(d, &[3, 7, 1, 3, 7, 1, 3, 7, 1]).is_multiple_of(10)
        && d.iter().any(|digit| *digit > 0)
}

fn uk_nhs(d: &[u8]) -> bool {
    check_11(&d[..9], &[10, 9, 8, 7, 6, 5, 4, 3, 2], d[9]) && d.iter().any(|digit| *digit != d[0])
}

fn de_tax_id(d: &[u8]) -> bool {
    let mut counts = [0; 10];
    for digit in &d[..10] {
        counts[usize::from(*digit)] += 1;
    }
    d[0] > 0 && counts.iter().all(|count| *count <= 3) && iso_11_10(d)
}

fn fr_nir(d: &[u8]) -> bool {
    matches!(d[0], 1..=4 | 7 | 8) && 97 - remainder(&d[..13], 97) == remainder(&d[13..], 100)
}

fn be_number(d: &[u8]) -> bool {
    let check = remainder(&d[9..], 100);
    97 - remainder(&d[..9], 97) == check || 97 - remainder(&[&[2], &d[..9]].concat(), 97) == check
}

fn se_personnummer(d: &[u8]) -> bool {
    let short = &d[d.len() - 10..];
    let century_fits = d.len() == 10 || matches!(d[..2], [1, 8 | 9] | [2, 0]);
    century_fits && luhn(short) && is_date_flexible(&short[2..4], &short[4..6])
}

fn ee_lt_code(d: &[u8]) -> bool {
    let first = weighted(&d[..10], &[1, 2, 3, 4, 5, 6, 7, 8, 9, 1]) % 11;
    let second = weighted(&d[..10], &[3, 4, 5, 6, 7, 8, 9, 1, 2, 3]) % 11;
    let check = if first < 10 { first } else { second % 10 };
    (1..=8).contains(&d[0]) && is_date(&d[3..5], &d[5..7]) && check == u32::from(d[10])
}

fn tr_tckn(d: &[u8]) -> bool {
    let odd: i32 = [0, 2, 4, 6, 8]
        .iter()
        .map(|place| i32::from(d[*place]))
        .sum();
    let even: i32 = [1, 3, 5, 7].iter().map(|place| i32::from(d[*place])).sum();
    let sum: i32 = d[..10].iter().map(|digit| i32::from(*digit)).sum();
    d[0] > 0 && (odd * 7 - even).rem_euclid(10) == i32::from(d[9]) && sum % 10 == i32::from(d[10])
}

fn ru_inn(d: &[u8]) -> bool {
    let check = |weights: &[u8]| weighted(d, weights) % 11 % 10;
    if d.len() == 10 {
        check(&[2, 4, 10, 3, 5, 9, 4, 6, 8]) == u32::from(d[9])
    } else {
        check(&[7, 2, 4, 10, 3, 5, 9, 4, 6, 8]) == u32::from(d[10])
            && check(&[3, 7, 2, 4, 10, 3, 5, 9, 4, 6, 8]) == u32::from(d[11])
    }
}

/// The resident number of the People's Republic of China (GB 11643); `None` stands for `X`.
pub(crate) fn cn_resident_id(body: &[u8], check: Option<u8>) -> bool {
    const WEIGHTS: [u8; 17] = [7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2];
    const CHECKS: [u8; 11] = [1, 0, 10, 9, 8, 7, 6, 5, 4, 3, 2];
    let expected = CHECKS[weighted(body, &WEIGHTS) as usize % 11];
    expected == check.unwrap_or(10) && is_date(&body[10..12], &body[12..14])
}

/// The last digit of a Kazakh identifier: where the first weights give 10, others follow.
fn kz_check(digits: &[u8]) -> u32 {
    let first = weighted(&digits[..11], &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]) % 11;
    match first {
        10 => weighted(&digits[..11], &[3, 4, 5, 6, 7, 8, 9, 10, 11, 1, 2]) % 11,
        first => first,
    }
}

fn nz_ird(d: &[u8]) -> bool {
    let padded = if d.len() == 8 {
        [&[0], d].concat()
    } else {
        d.to_vec()
    };
    let check = |weights: &[u8]| (11 - weighted(&padded[..8], weights) % 11) % 11;
    let first = check(&[3, 2, 7, 6, 5, 4, 3, 2]);
    let check = if first == 10 {
        check(&[7, 4, 3, 2, 5, 2, 7, 6])
    } else {
        first
    };
    check == u32::from(padded[8])
}

fn br_cpf(d: &[u8]) -> bool {
    let check = |weights: &[u8]| match weighted(d, weights) % 11 {
        0 | 1 => 0,
        rest => 11 - rest,
    };
    d.iter().any(|digit| *digit != d[0])
        && check(&[10, 9, 8, 7, 6, 5, 4, 3, 2]) == u32::from(d[9])
        && check(&[11, 10, 9, 8, 7, 6, 5, 4, 3, 2]) == u32::from(d[10])
}

fn br_cnpj(d: &[u8]) -> bool {
    let check = |weights: &[u8]| match weighted(d, weights) % 11 {
        0 | 1 => 0,
        rest => 11 - rest,
    };
    check(&[5, 4, 3, 2, 9, 8, 7, 6, 5, 4, 3, 2]) == u32::from(d[12])
        && check(&[6, 5, 4, 3, 2, 9, 8, 7, 6, 5, 4, 3, 2]) == u32::from(d[13])
}

/// The check digit of a Chilean RUT; 10 stands for `K`.
pub(crate) fn cl_rut(body: &[u8]) -> u32 {
    let sum: u32 = body
        .iter()
        .rev()
        .zip([2, 3, 4, 5, 6, 7].into_iter().cycle())
        .map(|(digit, weight)| u32::from(*digit) * weight)
        .sum();
    (11 - sum % 11) % 11
}

/// Weighted modulo 11, where 11 counts as 0 and 10 is never given out.
fn check_11(body: &[u8], weights: &[u8], check: u8) -> bool {
    let expected = (11 - weighted(body, weights) % 11) % 11;
    expected == u32::from(check)
        // Portugal gives 0 where the sum asks for 10.
        || (expected == 10 && check == 0 && weights.len() == 8)
}

/// Weights 9 down to 2, the sum's remainder itself being the check.
fn check_11_plain(body: &[u8], check: u8) -> bool {
    let sum = weighted(body, &[9, 8, 7, 6, 5, 4, 3, 2]);
    sum % 11 % 10 == u32::from(check)
}

/// Two digits of a month and two of a day.
pub(crate) fn is_date(month: &[u8], day: &[u8]) -> bool {
    const DAYS: [u8; 13] = [0, 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let (month, day) = (month[0] * 10 + month[1], day[0] * 10 + day[1]);
    let days = DAYS.get(usize::from(month)).copied().unwrap_or(0);
    (1..=days).contains(&day)
}

/// The same where months or days may have 20, 40, 60 or 80 added for women or newcomers.
fn is_date_flexible(month: &[u8], day: &[u8]) -> bool {
    let (month, day) = (month[0] * 10 + month[1], day[0] * 10 + day[1]);
    (1..=12).contains(&(month % 20)) && (1..=31).contains(&day)
        || ((1..=12).contains(&month) && ((41..=71).contains(&day) || (61..=91).contains(&day)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::checksum;

    #[test]
    fn every_identifiers_examples_hold() {
        let holds = |identifier: &Identifier, example: &str| {
            let digits = checksum::digits(example);
            identifier.lengths.contains(&digits.len()) && (identifier.holds)(&digits)
        };
        let failing: Vec<_> = IDENTIFIERS
            .iter()
            .filter(|identifier| !holds(identifier, identifier.example))
            .map(|identifier| identifier.name)
            .collect();
        assert_eq!(failing, [""; 0]);
    }

    #[test]
    fn at_least_25_countries_have_an_identifier_with_a_check_digit() {
        let countries: std::collections::HashSet<&str> = IDENTIFIERS
            .iter()
            .filter(|identifier| {
                let mut digits = checksum::digits(identifier.example);
                (0..digits.len()).any(|place| {
                    let kept = digits[place];
                    digits[place] = (kept + 1) % 10;
                    let holds = (identifier.holds)(&digits);
                    digits[place] = kept;
                    !holds
                })
            })
            .filter_map(|identifier| identifier.name.split_once('-'))
            .map(|(country, _)| country)
            .collect();
        assert!(countries.len() >= 25, "{countries:?}");
    }
}
