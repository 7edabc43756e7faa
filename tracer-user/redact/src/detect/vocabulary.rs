//! The words that no table of rules brings along, and the dates that some of them ask for.

use super::words::{Role, Topic};

/// Dates as people write birthdays.
pub(crate) const BIRTH_DATE: &str = r"(?xi)
    \b(?: \d{4}[-/.]\d{1,2}[-/.]\d{1,2}
        | \d{1,2}[-/.\x20]\d{1,2}[-/.\x20]\d{2,4}
        | (?:(?:the\x20)?
             (?: \d{1,2}(?:st|nd|rd|th|er|\.|\xc2\xba)?
               | (?:twenty|thirty)[-\x20](?:first|second|third|fourth|fifth|sixth|seventh|eighth|ninth)
               | first|second|third|fourth|fifth|sixth|seventh|eighth|ninth|tenth|eleventh|twelfth
               | (?:thir|four|fif|six|seven|eigh|nine)teenth|twentieth|thirtieth )
             [\x20-]?(?:of\x20|de\x20)?)?
          (?:jan|feb|mar|m\xc3\xa4r|apr|may|mai|mayo|maj|jun|jul|aug|ago|sep|oct|okt|nov|dec|dez|dic|ene|abr|gen|mag|giu|lug|set|ott|out|f\xc3\xa9v|fev|avr|juin|juil|ao\xc3\xbbt|d\xc3\xa9c|maart|mrt|mei
            |stycz|lut|kwie|czerw|lip|sier|wrz|pa\xc5\xba|lis|grud|oca|\xc5\x9fub|nis|haz|tem|a\xc4\x9fu|eyl|eki|kas|ara
            |\xd1\x8f\xd0\xbd\xd0\xb2|\xd1\x84\xd0\xb5\xd0\xb2|\xd0\xbc\xd0\xb0\xd1\x80|\xd0\xb0\xd0\xbf\xd1\x80|\xd0\xbc\xd0\xb0[\xd0\xd1]|\xd0\xb8\xd1\x8e|\xd0\xb0\xd0\xb2\xd0\xb3|\xd1\x81\xd0\xb5\xd0\xbd|\xd0\xbe\xd0\xba\xd1\x82|\xd0\xbd\xd0\xbe\xd1\x8f|\xd0\xb4\xd0\xb5\xd0\xba)
          [a-z\x80-\xff]{0,14}[.,]?[\x20-]?
          (?: (?:the\x20)?\d{1,2}(?:st|nd|rd|th)?\x20?,?\x20\d{2,4} | (?:de\x20|del\x20)?\d{4}
            | nineteen\x20(?:hundred\x20)?[a-z]{3,9}(?:[-\x20](?:one|two|three|four|five|six|seven|eight|nine))?
            | two\x20thousand(?:\x20and)?(?:\x20[a-z]{3,9})? )
        | \d{1,2}(?:st|nd|rd|th|\.)?\x20(?:of\x20|de\x20)?(?:january|february|march|april|may|june|july|august|september|october|november|december|januar|februar|m\xc3\xa4rz|mai|juni|juli|oktober|dezember|janvier|f\xc3\xa9vrier|avril|juin|juillet|septembre|octobre|novembre|enero|febrero|marzo|abril|mayo|junio|julio|agosto|septiembre|octubre|noviembre|diciembre)
        | (?:january|february|march|april|may|june|july|august|september|october|november|december)\x20(?:the\x20)?\d{1,2}(?:st|nd|rd|th)?
        | nineteen\x20(?:twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety)(?:[-\x20](?:one|two|three|four|five|six|seven|eight|nine))?
        | (?:19|20)\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])
        | (?:0[1-9]|[12]\d|3[01])(?:0[1-9]|1[0-2])(?:19|20)\d\d
    )\b
    | (?:\d{4}|[\xe6\xe5\xe4][\x80-\xbf]{2}[\xe5\xe6\xe7][\x80-\xbf]{2}\d{1,2})\x20?(?:\xe5\xb9\xb4|\xeb\x85\x84)\x20?\d{1,2}\x20?(?:\xe6\x9c\x88|\xec\x9b\x94)\x20?\d{1,2}\x20?(?:\xe6\x97\xa5|\xec\x9d\xbc)";

/// The words that no table of rules brings along.
#[rustfmt::skip]
pub(crate) static WORDS: &[(Role, &[&str])] = &[
    (Role::Url, &["://"]),
    (Role::User, &[" -u ", " --user ", " --user=", "\n-u ", "\n--user ", " -u\"", " -u'", " --proxy-user "]),
    (Role::Armour, &["-----BEGIN"]),
    (Role::ArmourEnd, &["-----END"]),
    (Role::Identified, &["identified with"]),
    (Role::Credential(0), &["networkcredential", "usernamepasswordcredential", "passwordauthentication", "usernamepasswordcredentials", "httpbasicauth", "psa_auth", "setbasicauth", "basicauthentication", ".login", "auth=", "auth = ", "oci_connect", "basic_auth"]),
    (Role::Credential(1), &["mysqli_connect", "mysql_connect", "mysqli", "pymysql.connect", "mysqldb.connect", "getconnection", "new pdo", "ftp_login", "ldap_bind", "imap_open"]),
    (Role::Keyed, &["createhmac", "jwt.sign", "jwt.verify", "jwt.encode", "jwt.decode", "createcipheriv", "pgp_sym_encrypt", "pgp_sym_decrypt", "aes_encrypt", "aes_decrypt"]),
    (Role::Common, &["password", "passwort", "passw0rd", "p@ssword", "p@ssw0rd", "pa$$word", "pa$$w0rd", "pa55word", "pa55w0rd", "letmein", "qwerty", "iloveyou", "changeme", "welcome"]),
    (Role::HostName, &["hostname", "host name", "host", "fqdn", "nodename", "node name", "server name", "computername"]),
    (Role::Mac, &["mac", "mac address", "macs", "hardware address", "physical address", "hwaddr", "ethernet address", "lladdr", "link/ether"]),
    (Role::Scheme, &["bearer", "basic", "token", "apikey", "negotiate", "digest", "ntlm", "authorization:", "auth plain", "auth login", "auth xoauth2"]),
    (Role::Password, &[
        "password", "passwd", "pw", "pass phrase", "passwort", "passphrase", "passcode", "pass", "pwd", "pswd", "psw", "psswd", "psswrd", "pssword", "paswd", "paswrd", "pasword", "passwrd", "passord", "kennwort", "adgangskode", "salasana", "jelszó", "jelszavam", "şifre", "Şifre", "ŞİFRE", "sifre", "Пароль", "ПАРОЛЬ", "contraseña", "mot de passe", "motdepasse", "senha",
        "wachtwoord", "lösenord", "heslo", "parola", "hasło", "пароль", "密码", "パスワード", "비밀번호", "κωδικός", "Κωδικός", "parool", "salasõna", "slaptažodis", "lozinka", "zaporka", "geslo", "kata sandi", "mật khẩu", "รหัสผ่าน", "كلمة المرور", "كلمة السر", "סיסמה", "पासवर्ड", "lykilorð", "contrasenya", "wagwoord", "nenosiri", "parolă", "identified by", "sshpass", "requirepass", "storepass", "keypass", "storepassword", "keypassword", "securestring", "psk", "bindpw", "rootpw", "userpw", "adminpw", "wpa_psk", "wlan-schlüssel", "wlan schlüssel", "wifi key", "wi-fi key", "wifi code", "wi-fi code", "network key", "code wifi", "clé wifi", "clave", "netzwerkschlüssel", "código de acceso", "code d'accès", "zugangscode", "κωδικό", "пассворд", "passkey", "암호", "口令", "パスコード",
    ]),
    (Role::Pair, &["creds", "credentials", "login", "logon", "log in", "zugangsdaten", "identifiants"]),
    (Role::Secret, &[
        "secret", "token", "key", "auth", "credential", "private", "access", "session", "cookie", "signature", "salt", "nonce",
        "apikey", "authentication", "authorization", "secretkey", "accesskey", "secretaccesskey", "authtoken", "accesstoken", "refreshtoken", "clientsecret", "sharedkey", "signingkey", "encryptionkey", "apisecret", "apitoken", "appsecret", "appkey", "masterkey", "api_token", "api-token", "api token", "access_token", "secret_access_key", "api_key", "api-key", "api key", "client_secret", "access_key", "secret_key", "auth_token", "bearer", "pat", "login", "jwt", "hmac", "seed", "pin", "otp", "certificate", "encryption", "webhook", "dsn", "license_key", "unseal", "api", "crumb", "client_id", "clientid", "client-id", "code_verifier", "samlresponse", "assertion", "schlüssel", "clé", "chiave", "chave", "ключ", "Ключ", "klucz", "nyckel", "nøgle", "avain", "anahtar", "密钥", "密鑰", "キー", "키", "sleutel", "klíč", "مفتاح", "מפתח", "कुंजी", "токен", "Токен", "トークン", "토큰", "令牌", "secreto", "segredo", "segreto", "секрет", "シークレット",
    ]),
    (Role::Topic(Topic::Card), &["card", "credit", "debit", "cc", "pan", "visa", "mastercard", "amex", "ccn", "karte", "tarjeta", "carte", "carta", "cvv", "カード", "카드", "卡号", "银行卡", "信用卡", "карта", "карты", "kart", "कार्ड", "بطاقة", "כרטיס", "kreditkarte", "creditcard", "cartão"]),
    (Role::Topic(Topic::Phone), &["phone", "telephone", "tel", "mobile", "fax", "whatsapp", "hotline", "telefon", "téléphone", "teléfono", "telefono", "handy", "móvil", "cellulare", "telefoon", "numaram", "telepono", "telefone", "telefoni", "tlf", "puhelin", "celular", "mobil", "電話", "电话", "전화", "тел", "phone number", "voicemail", "my number is", "mob", "ph", "cell phone", "phones", "handynummer", "mobilnummer", "rufnummer", "telefonnummer", "festnetz", "numéro de portable", "numéro de téléphone", "telemóvel", "телефон", "Телефон", "мобильный", "手机", "手机号", "手機", "電話番号", "携帯", "휴대폰", "फोन", "मोबाइल", "هاتفي", "هاتف", "טלפון", "ruf mich", "appelle-moi", "bel me", "chiamami", "llámame", "zadzwoń", "numer telefonu", "teléfonos", "sđt", "điện thoại", "telp"]),
    (Role::Topic(Topic::Call), &["cell", "call", "call me", "calling", "sms", "dial", "desk", "office", "contact", "portable", "answering", "receiving messages", "ring me", "text me", "reach me", "messages to", "signal", "pager", "number is", "numéro est", "nummer ist", "landline"]),
    (Role::Topic(Topic::Bank), &["account", "konto", "cuenta", "rekening", "routing", "swift", "bic", "ifsc"]),
    (Role::Topic(Topic::Birth), &[
        "dob", "d.o.b", "born", "birth", "birthday", "birthdate", "date of birth", "bday", "geboren", "geburtsdatum", "geb.", "né le", "née le", "date de naissance", "naissance", "nacimiento", "nacido", "nacida", "nato il", "nata il", "nascita", "nascimento", "geboortedatum", "född", "fødselsdato", "urodzony", "urodzenia", "doğum", "geburtstag", "cumpleaños", "compleanno", "verjaardag", "syntymäaika", "narození", "дата народження", "день рождения", "ngày sinh", "tanggal lahir", "生年月日", "出生", "생년월일", "дата рождения", "Дата рождения", "nací", "nació", "nasci", "nasceu", "urodziłem", "urodziłam", "født", "родился", "родилась", "родился в", "geb.-datum", "تاريخ الميلاد", "जन्म तिथि", "जन्मतिथि", "जन्म", "תאריך לידה", "生まれ", "출생", "d.o.b.", "nata il", "sono nato", "geboortedag", "naci el",
    ]),
    (Role::Topic(Topic::Address), &[
        "address", "live at", "lives at", "living at", "live in", "ship to", "ship it to", "deliver to", "delivered to", "send it to", "shipping", "resides at", "residing at", "located at", "home is", "moved to", "adresse", "anschrift", "wohnhaft", "dirección", "direccion", "domicilio", "indirizzo", "morada", "adres", "adress", "po box", "p.o. box", "postfach", "住所", "地址", "주소", "адрес", "адреса", "địa chỉ", "alamat", "address is", "mailing address", "lieferadresse", "rechnungsadresse", "wohne in", "wohne am", "adresse de livraison", "habite au", "habite", "dirección de envío", "vivo en", "vivo a", "abito in", "abito a", "moro na", "moro no", "moro em", "endereço", "mieszkam", "bezorgadres", "woon op", "woon in", "osoite", "cím", "〒", "bor på", "адресу", "住在", "живу", "addresse",
    ]),
    (Role::Topic(Topic::Postcode), &["〒", "우편번호", "邮编", "郵便番号", "cep", "cap:", "eircode", "zip:", "zip is", "zip code", "zipcode", "postal code", "postcode", "plz", "postleitzahl", "code postal", "código postal"]),
    (Role::Topic(Topic::Identity), &["id number", "national id", "identity number", "identity card", "id card", "personal id", "id no", "identification number", "ausweis", "ausweisnummer", "personalausweis", "identitätskarte", "carta d'identità", "carta di identità", "carte d'identité", "documento de identidad", "dowód osobisty", "id-kort", "dni", "nie", "nif", "codice fiscale", "national insurance", "nino", "turkish id", "id code", "id kodu", "tc no", "citizen id", "henkilötunnus", "hetu", "pan", "ppsn", "pps", "nric", "hetu", "pan number", "gstin", "gst", "curp", "uen", "voter", "vote", "citizen", "identification", "identificación", "cédula", "cedula", "cnic", "emirates id", "clave de elector", "a-number", "green card", "cuit", "cuil", "tc kimlik", "kimlik", "身份证", "身份证号", "personalausweis nr", "dl no", "dl number", "gesundheitskarte", "rodné číslo", "henkilötunnus", "national number", "numéro national", "employee id"]),
    (Role::Topic(Topic::Tax), &["tax id", "vat", "rfc", "tax number", "taxpayer", "tin"]),
    (Role::Topic(Topic::Passport), &["passport", "pasaporte", "passeport", "reisepass", "passaporto", "paspoort", "travel document", "여권", "reisepassnummer", "passnummer", "护照", "護照", "旅券", "パスポート", "паспорт", "Паспорт", "jawaz", "पासपोर्ट", "pasaport"]),
    (Role::Topic(Topic::Licence), &["driver license", "driver's license", "drivers license", "driving licence", "driver licence", "licence", "license number", "driving license", "führerschein", "permis", "patente", "carnet de conducir", "führerscheinnummer", "dl number", "patente di guida", "rijbewijs", "prawo jazdy", "cnh", "водительское удостоверение", "운전면허", "permis de conduire", "driver license no", "driving licence number", "driver's license number"]),
    (Role::Topic(Topic::Plate), &["plate", "license plate", "number plate", "vehicle", "car reg", "registration", "plaka", "kennzeichen", "matrícula", "immatriculation", "vin", "targa"]),
    (Role::Topic(Topic::Health), &["medicare", "patient", "mbi", "health", "insurance number", "nhs", "dea", "npi", "krankenversicherung", "krankenversicherungsnummer", "kvnr", "krankenkasse", "health card", "versichertennummer", "medical", "mrn", "krankenkassennummer", "versichertennr", "krankenversicherungsnr", "member id", "hospital no", "insurance", "insurance id", "patient id", "assurance", "versicherung", "health insurance number", "policy no"]),
    (Role::Topic(Topic::Version), &["version", "ver.", "release", "v.", "build", "driver", "cuda", "firmware", "rev", "upgrade", "package"]),
    (Role::Topic(Topic::Network), &["ip", "address", "host", "server", "client", "from", "addr", "peer", "ping", "gateway", "src", "dst", "listen"]),
    (Role::Topic(Topic::Crypto), &["bitcoin", "btc", "wallet", "eth", "ethereum", "monero", "crypto", "litecoin"]),
];
