/// What a detector found, as coarse as a reader of a redacted text needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// An access key, secret or session token of a cloud.
    CloudKey,
    /// A token of a source forge or a package registry.
    ForgeToken,
    /// A token or webhook of a chat service.
    ChatToken,
    /// A key of a payment service.
    PaymentKey,
    /// A key of a model provider.
    AiKey,
    /// A key of any other service.
    ServiceToken,
    /// What follows `Bearer` in a header.
    Bearer,
    /// User and password in a URL or a header.
    BasicAuth,
    /// A private key.
    PrivateKey,
    /// A JSON web token.
    Jwt,
    /// A password.
    Password,
    /// A password's hash.
    PasswordHash,
    /// A value with high entropy that its context calls a secret.
    Secret,
    /// A mail address.
    Email,
    /// A phone number.
    Phone,
    /// A payment card's number.
    Card,
    /// An international bank account number.
    Iban,
    /// A national account, routing or clearing number.
    BankAccount,
    /// A number by which a state knows a person or a firm.
    NationalId,
    /// A passport's number.
    Passport,
    /// A driving licence's number.
    DrivingLicence,
    /// A vehicle's plate.
    VehiclePlate,
    /// A number of a health system.
    HealthId,
    /// An IP address.
    IpAddress,
    /// A link-layer address.
    MacAddress,
    /// A postal address or a part of one.
    PostalAddress,
    /// A date of birth.
    BirthDate,
    /// An address of a crypto currency.
    CryptoAddress,
    /// A path in a file system.
    Path,
    /// A URL or a host's name.
    Host,
    /// What a rule of the policy's own found.
    Custom,
}

/// Rules that are switched on and off together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Group {
    /// Whatever opens something.
    Credentials,
    /// What tells who somebody is or how to reach them.
    Personal,
    /// Paths, URLs and host names.
    Places,
}

impl Group {
    /// All groups, in the order in which their rules win over each other.
    pub const ALL: [Self; 3] = [Self::Credentials, Self::Personal, Self::Places];

    /// The word in a policy file.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Credentials => "credentials",
            Self::Personal => "personal",
            Self::Places => "places",
        }
    }
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 31] = [
        Self::CloudKey,
        Self::ForgeToken,
        Self::ChatToken,
        Self::PaymentKey,
        Self::AiKey,
        Self::ServiceToken,
        Self::Bearer,
        Self::BasicAuth,
        Self::PrivateKey,
        Self::Jwt,
        Self::Password,
        Self::PasswordHash,
        Self::Secret,
        Self::Email,
        Self::Phone,
        Self::Card,
        Self::Iban,
        Self::BankAccount,
        Self::NationalId,
        Self::Passport,
        Self::DrivingLicence,
        Self::VehiclePlate,
        Self::HealthId,
        Self::IpAddress,
        Self::MacAddress,
        Self::PostalAddress,
        Self::BirthDate,
        Self::CryptoAddress,
        Self::Path,
        Self::Host,
        Self::Custom,
    ];

    /// The word in policies, placeholders and counts.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::CloudKey => "cloud_key",
            Self::ForgeToken => "forge_token",
            Self::ChatToken => "chat_token",
            Self::PaymentKey => "payment_key",
            Self::AiKey => "ai_key",
            Self::ServiceToken => "service_token",
            Self::Bearer => "bearer",
            Self::BasicAuth => "basic_auth",
            Self::PrivateKey => "private_key",
            Self::Jwt => "jwt",
            Self::Password => "password",
            Self::PasswordHash => "password_hash",
            Self::Secret => "secret",
            Self::Email => "email",
            Self::Phone => "phone",
            Self::Card => "card",
            Self::Iban => "iban",
            Self::BankAccount => "bank_account",
            Self::NationalId => "national_id",
            Self::Passport => "passport",
            Self::DrivingLicence => "driving_licence",
            Self::VehiclePlate => "vehicle_plate",
            Self::HealthId => "health_id",
            Self::IpAddress => "ip_address",
            Self::MacAddress => "mac_address",
            Self::PostalAddress => "postal_address",
            Self::BirthDate => "birth_date",
            Self::CryptoAddress => "crypto_address",
            Self::Path => "path",
            Self::Host => "host",
            Self::Custom => "custom",
        }
    }

    /// The group that the kind belongs to. A rule of the policy's own may name another.
    #[must_use]
    pub const fn group(self) -> Group {
        match self {
            Self::CloudKey
            | Self::ForgeToken
            | Self::ChatToken
            | Self::PaymentKey
            | Self::AiKey
            | Self::ServiceToken
            | Self::Bearer
            | Self::BasicAuth
            | Self::PrivateKey
            | Self::Jwt
            | Self::Password
            | Self::PasswordHash
            | Self::Secret => Group::Credentials,
            Self::Email
            | Self::Phone
            | Self::Card
            | Self::Iban
            | Self::BankAccount
            | Self::NationalId
            | Self::Passport
            | Self::DrivingLicence
            | Self::VehiclePlate
            | Self::HealthId
            | Self::IpAddress
            | Self::MacAddress
            | Self::PostalAddress
            | Self::BirthDate
            | Self::CryptoAddress
            | Self::Custom => Group::Personal,
            Self::Path | Self::Host => Group::Places,
        }
    }
}
