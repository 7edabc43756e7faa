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
             [\x20-](?:of\x20|de\x20)?)?
          (?:jan|feb|mar|m\xc3\xa4r|apr|may|mai|mayo|maj|jun|jul|aug|ago|sep|oct|okt|nov|dec|dez|dic|ene|abr|gen|mag|giu|lug|set|ott|out|f\xc3\xa9v|fev|avr|juin|juil|ao\xc3\xbbt|d\xc3\xa9c|maart|mrt|mei
            |stycz|lut|kwie|czerw|lip|sier|wrz|pa\xc5\xba|lis|grud|oca|\xc5\x9fub|nis|haz|tem|a\xc4\x9fu|eyl|eki|kas|ara
            |\xd1\x8f\xd0\xbd\xd0\xb2|\xd1\x84\xd0\xb5\xd0\xb2|\xd0\xbc\xd0\xb0\xd1\x80|\xd0\xb0\xd0\xbf\xd1\x80|\xd0\xbc\xd0\xb0[\xd0\xd1]|\xd0\xb8\xd1\x8e|\xd0\xb0\xd0\xb2\xd0\xb3|\xd1\x81\xd0\xb5\xd0\xbd|\xd0\xbe\xd0\xba\xd1\x82|\xd0\xbd\xd0\xbe\xd1\x8f|\xd0\xb4\xd0\xb5\xd0\xba)
          [a-z\x80-\xff]{0,14}[.,]?[\x20-]
          (?: (?:the\x20)?\d{1,2}(?:st|nd|rd|th)?\x20?,?\x20\d{2,4} | (?:de\x20|del\x20)?\d{4}
            | nineteen\x20(?:hundred\x20)?[a-z]{3,9}(?:[-\x20](?:one|two|three|four|five|six|seven|eight|nine))?
            | two\x20thousand(?:\x20and)?(?:\x20[a-z]{3,9})? )
        | \d{1,2}(?:st|nd|rd|th|\.)?\x20(?:of\x20|de\x20)?(?:january|february|march|april|may|june|july|august|september|october|november|december|januar|februar|m\xc3\xa4rz|mai|juni|juli|oktober|dezember|janvier|f\xc3\xa9vrier|avril|juin|juillet|septembre|octobre|novembre|enero|febrero|marzo|abril|mayo|junio|julio|agosto|septiembre|octubre|noviembre|diciembre)
        | (?:january|february|march|april|may|june|july|august|september|october|november|december)\x20(?:the\x20)?\d{1,2}(?:st|nd|rd|th)?
        | nineteen\x20(?:twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety)(?:[-\x20](?:one|two|three|four|five|six|seven|eight|nine))?
        | (?:19|20)\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])
        | (?:0[1-9]|[12]\d|3[01])(?:0[1-9]|1[0-2])(?:19|20)\d\d
    )\b
    | \d{4}\x20?(?:\xe5\xb9\xb4|\xeb\x85\x84)\x20?\d{1,2}\x20?(?:\xe6\x9c\x88|\xec\x9b\x94)\x20?\d{1,2}\x20?(?:\xe6\x97\xa5|\xec\x9d\xbc)";

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
    (Role::Keyed, &["createhmac", "jwt.sign", "jwt.verify", "jwt.encode", "jwt.decode", "createcipheriv"]),
    (Role::Common, &["password", "passwort", "passw0rd", "p@ssword", "p@ssw0rd", "pa$$word", "pa$$w0rd", "pa55word", "pa55w0rd", "letmein", "qwerty", "iloveyou", "changeme", "welcome"]),
    (Role::HostName, &["hostname", "host name", "host", "fqdn", "nodename", "node name", "server name", "computername"]),
    (Role::Mac, &["mac", "mac address", "macs", "hardware address", "physical address", "hwaddr", "ethernet address", "lladdr", "link/ether"]),
    (Role::Scheme, &["bearer", "basic", "token", "apikey", "negotiate", "digest", "ntlm", "authorization:"]),
    (Role::Password, &[
        "password", "passwd", "pw", "pass phrase", "passwort", "passphrase", "passcode", "pass", "pwd", "pswd", "psw", "psswd", "psswrd", "pssword", "paswd", "paswrd", "pasword", "passwrd", "passord", "kennwort", "adgangskode", "salasana", "jelszó", "şifre", "Şifre", "ŞİFRE", "sifre", "Пароль", "ПАРОЛЬ", "contraseña", "mot de passe", "motdepasse", "senha",
        "wachtwoord", "lösenord", "heslo", "parola", "hasło", "пароль", "密码", "パスワード", "비밀번호", "κωδικός", "Κωδικός", "parool", "salasõna", "slaptažodis", "lozinka", "zaporka", "geslo", "kata sandi", "mật khẩu", "รหัสผ่าน", "كلمة المرور", "كلمة السر", "סיסמה", "पासवर्ड", "lykilorð", "contrasenya", "wagwoord", "nenosiri", "parolă", "identified by", "sshpass", "requirepass", "storepass", "keypass", "storepassword", "keypassword", "securestring", "psk", "bindpw", "rootpw", "userpw", "adminpw", "wpa_psk",
    ]),
    (Role::Pair, &["creds", "credentials", "login", "logon", "log in", "zugangsdaten", "identifiants"]),
    (Role::Secret, &[
        "secret", "token", "key", "auth", "credential", "private", "access", "session", "cookie", "signature", "salt", "nonce",
        "apikey", "authentication", "authorization", "secretkey", "accesskey", "secretaccesskey", "authtoken", "accesstoken", "refreshtoken", "clientsecret", "sharedkey", "signingkey", "encryptionkey", "apisecret", "apitoken", "appsecret", "appkey", "masterkey", "api_token", "api-token", "api token", "access_token", "secret_access_key", "api_key", "api-key", "api key", "client_secret", "access_key", "secret_key", "auth_token", "bearer", "pat", "login", "jwt", "hmac", "seed", "pin", "otp", "certificate", "encryption", "webhook", "dsn", "license_key", "unseal", "api", "crumb", "client_id", "clientid", "client-id", "code_verifier", "samlresponse", "assertion",
    ]),
    (Role::Topic(Topic::Card), &["card", "credit", "debit", "cc", "pan", "visa", "mastercard", "amex", "ccn", "karte", "tarjeta", "carte", "carta", "cvv"]),
    (Role::Topic(Topic::Phone), &["phone", "telephone", "tel", "mobile", "fax", "whatsapp", "hotline", "telefon", "téléphone", "teléfono", "telefono", "handy", "móvil", "cellulare", "telefoon", "numaram", "telepono", "telefone", "telefoni", "tlf", "puhelin", "celular", "mobil", "電話", "电话", "전화", "тел", "phone number", "voicemail", "my number is"]),
    (Role::Topic(Topic::Call), &["cell", "call", "call me", "calling", "sms", "dial", "desk", "office", "contact", "portable", "answering", "receiving messages", "ring me", "text me", "reach me", "messages to", "signal", "pager", "number is", "numéro est", "nummer ist", "landline"]),
    (Role::Topic(Topic::Bank), &["account", "konto", "cuenta", "rekening", "routing", "swift", "bic", "ifsc"]),
    (Role::Topic(Topic::Birth), &[
        "dob", "d.o.b", "born", "birth", "birthday", "birthdate", "date of birth", "bday", "geboren", "geburtsdatum", "geb.", "né le", "née le", "date de naissance", "naissance", "nacimiento", "nacido", "nacida", "nato il", "nata il", "nascita", "nascimento", "geboortedatum", "född", "fødselsdato", "urodzony", "urodzenia", "doğum", "geburtstag", "cumpleaños", "compleanno", "verjaardag", "syntymäaika", "narození", "дата народження", "день рождения", "ngày sinh", "tanggal lahir", "生年月日", "出生", "생년월일", "дата рождения",
    ]),
    (Role::Topic(Topic::Address), &[
        "address", "live at", "lives at", "living at", "live in", "ship to", "ship it to", "deliver to", "delivered to", "send it to", "shipping", "resides at", "residing at", "located at", "home is", "moved to", "adresse", "anschrift", "wohnhaft", "dirección", "direccion", "domicilio", "indirizzo", "morada", "adres", "adress", "po box", "p.o. box", "postfach", "住所", "地址", "주소", "адрес", "адреса", "địa chỉ", "alamat", "address is", "mailing address",
    ]),
    (Role::Topic(Topic::Postcode), &["zip:", "zip is", "zip code", "zipcode", "postal code", "postcode", "plz", "postleitzahl", "code postal", "código postal"]),
    (Role::Topic(Topic::Identity), &["id number", "national id", "identity number", "identity card", "id card", "personal id", "id no", "identification number", "ausweis", "ausweisnummer", "personalausweis", "identitätskarte", "carta d'identità", "carta di identità", "carte d'identité", "documento de identidad", "dowód osobisty", "id-kort", "dni", "nie", "nif", "codice fiscale", "national insurance", "nino", "turkish id", "id code", "id kodu", "tc no", "citizen id", "henkilötunnus", "hetu", "pan", "ppsn", "pps", "nric", "hetu", "pan number", "gstin", "gst", "curp", "uen", "voter", "vote", "citizen", "identification", "identificación"]),
    (Role::Topic(Topic::Tax), &["tax id", "vat", "rfc", "tax number", "taxpayer", "tin"]),
    (Role::Topic(Topic::Passport), &["passport", "pasaporte", "passeport", "reisepass", "passaporto", "paspoort", "travel document", "여권"]),
    (Role::Topic(Topic::Licence), &["driver license", "driver's license", "drivers license", "driving licence", "driver licence", "licence", "license number", "driving license", "führerschein", "permis", "patente", "carnet de conducir"]),
    (Role::Topic(Topic::Plate), &["plate", "license plate", "number plate", "vehicle", "car reg", "registration", "plaka", "kennzeichen", "matrícula", "immatriculation", "vin", "targa"]),
    (Role::Topic(Topic::Health), &["medicare", "patient", "mbi", "health", "insurance number", "nhs", "dea", "npi", "krankenversicherung", "krankenversicherungsnummer", "kvnr", "krankenkasse", "health card", "versichertennummer", "medical"]),
    (Role::Topic(Topic::Version), &["version", "ver.", "release", "v.", "build", "driver", "cuda", "firmware", "rev", "upgrade", "package"]),
    (Role::Topic(Topic::Network), &["ip", "address", "host", "server", "client", "from", "addr", "peer", "ping", "gateway", "src", "dst", "listen"]),
    (Role::Topic(Topic::Crypto), &["bitcoin", "btc", "wallet", "eth", "ethereum", "monero", "crypto", "litecoin"]),
];
