//! Every diagnostic's code: its number, the original's name for it, its weight, its stage and its title.
//!
//! The message and the help stand beside the check that raises it. The last two digits follow the
//! original's declaration order, so that a new one goes to the end of its range.

use std::fmt;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Nothing is compiled.
    Error,
    /// Worth a look; the application compiles.
    Warning,
}

/// Which step of compiling raises it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// Text to lines and blocks.
    Parse,
    /// Each block by itself.
    Blocks,
    /// Blocks of all files to a graph and instances.
    Conversion,
    /// The graph and the instances as a whole.
    Runtime,
    /// Folder and descriptor.
    Project,
}

macro_rules! codes {
    ($($variant:ident $number:literal $alias:expr, $severity:ident $stage:ident $title:literal;)*) => {
        /// A stable code.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Code {
            $(#[doc = $title] $variant,)*
        }

        impl Code {
            /// All codes, by number.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// `E0210`.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $number),* }
            }

            /// The original's name, where the original has this mistake.
            #[must_use]
            pub const fn alias(self) -> Option<&'static str> {
                match self { $(Self::$variant => $alias),* }
            }

            /// How bad it is.
            #[must_use]
            pub const fn severity(self) -> Severity {
                match self { $(Self::$variant => Severity::$severity),* }
            }

            /// Which step raises it.
            #[must_use]
            pub const fn stage(self) -> Stage {
                match self { $(Self::$variant => Stage::$stage),* }
            }

            /// What it is about, in a few words.
            #[must_use]
            pub const fn title(self) -> &'static str {
                match self { $(Self::$variant => $title),* }
            }
        }
    };
}

codes! {
    IoError "E0101" Some("P_IO_ERROR"), Error Parse "A file cannot be read";
    OneBlockPerLine "E0102" Some("P_ONE_BLOCK_PER_LINE"), Error Parse "Several statements on one line";
    PropertyEnd "E0103" Some("P_PROPERTY_ENDS_WITH_SEMI_COLON"), Error Parse "A property without a final `;`";
    ImportEnd "E0104" Some("P_IMPORT_ENDS_WITH_SEMI_COLON"), Error Parse "An import without a final `;`";
    OpenExtra "E0105" Some("P_O_C_BRACKET_EXTRA_CHARACTERS"), Error Parse "Text after `{`";
    CloseExtra "E0106" Some("P_C_C_BRACKET_EXTRA_CHARACTERS"), Error Parse "Text after `}`";
    OpenMissing "E0107" Some("P_O_C_BRACKET_MISSING"), Error Parse "A block without `{`";
    CloseMissing "E0108" Some("P_C_C_BRACKET_MISSING"), Error Parse "A block without `}`";
    UnrecognizedBlock "E0109" Some("P_UNRECOGNIZED_BLOCK"), Error Parse "A line that begins nothing known";
    InvalidProperty "E0110" Some("P_INVALID_PROPERTY"), Error Parse "A line in a block that is no property";
    InvalidPropertyOrInstance "E0111" Some("P_INVALID_PROPERTY_OR_INSTANCE"), Error Parse
        "A line in an instance that is neither property nor instance";
    InvalidFileType "E0112" Some("P_INVALID_FILE_TYPE"), Error Parse "Graph and instances in one file of a project folder";
    EmptyFile "E0113" Some("P_EMPTY_FILE"), Warning Parse "A file with nothing in it";

    InvalidBlockType "E0201" Some("PM_INVALID_BLOCK_TYPE"), Error Blocks "An unknown kind of block";
    UnknownPropertyName "E0202" Some("PM_UNKNOWN_PROPERTY_NAME"), Warning Blocks "An unknown property";
    ForbiddenName "E0203" Some("PM_FORBIDDEN_NAME"), Error Blocks "A reserved name";
    EmptyPropertyValue "E0204" Some("PM_EMPTY_PROPERTY_VALUE"), Error Blocks "A property without a value";
    EmptyImportLocation "E0205" Some("PM_EMPTY_IMPORT_LOCATION"), Error Blocks "An import without a file";
    EmptyFacetName "E0206" Some("PM_EMPTY_FACET_NAME"), Error Blocks "A facet without a name";
    EmptyReferencedName "E0207" Some("PM_EMPTY_REFERENCED_NAME"), Error Blocks "An empty item in a list of names";
    EmptyComponentName "E0208" Some("PM_EMPTY_COMPONENT_NAME"), Error Blocks "A component without a name";
    EmptyVariableName "E0209" Some("PM_EMPTY_VARIABLE_NAME"), Error Blocks "A variable without a name";
    InvalidChildName "E0210" Some("PM_INVALID_CHILD_NAME"), Error Blocks "A child's name that is no name";
    InvalidName "E0211" Some("PM_INVALID_NAME"), Error Blocks "A name that breaks the rule for names";
    InvalidExportValue "E0212" Some("PM_INVALID_EXPORT_COMPLEX_VALUE"), Error Blocks "A quoted value that is not well formed";
    InvalidExportedName "E0213" Some("PM_INVALID_EXPORTED_VAR_NAME"), Error Blocks "An exported variable's name that is no name";
    ExternalExport "E0214" Some("PM_EXTERNAL_IS_KEYWORD_FOR_IMPORTS"), Error Blocks "`external` among the exports";
    InvalidImportedName "E0215" Some("PM_INVALID_IMPORTED_VAR_NAME"), Error Blocks "An imported variable's name that is no name";
    InvalidInstallerName "E0216" Some("PM_INVALID_INSTALLER_NAME"), Error Blocks "An installer's name that is no name";
    InvalidInstanceElement "E0217" Some("PM_INVALID_INSTANCE_ELEMENT"), Error Blocks "A block that may not stand in an instance";
    InvalidInstanceCount "E0218" Some("PM_INVALID_INSTANCE_COUNT"), Error Blocks "A count that is no number from 1";
    UselessInstanceCount "E0219" Some("PM_USELESS_INSTANCE_COUNT"), Warning Blocks "A count of 1";
    PropertyNotApplicable "E0220" Some("PM_PROPERTY_NOT_APPLIABLE"), Error Blocks "A property that does not belong here";
    DuplicateProperty "E0221" Some("PM_DUPLICATE_PROPERTY"), Error Blocks "A property given twice";
    MissingInstanceName "E0222" Some("PM_MISSING_INSTANCE_NAME"), Error Blocks "An instance without a name";
    InvalidInstanceName "E0223" Some("PM_INVALID_INSTANCE_NAME"), Error Blocks "An instance's name that is no name";
    DotNotAllowed "E0224" Some("PM_DOT_IS_NOT_ALLOWED"), Error Blocks "A dot in a name that is defined";
    IncompleteImport "E0225" Some("PM_INCOMPLETE_IMPORTED_VAR_NAME"), Error Blocks "An imported variable without its component";
    MalformedComment "E0226" Some("PM_MALFORMED_COMMENT"), Warning Blocks "A comment without `#`";
    MalformedBlank "E0227" Some("PM_MALFORMED_BLANK"), Warning Blocks "A blank line with text";

    NotAGraph "E0301" Some("CO_NOT_A_GRAPH"), Error Conversion "A file that holds no graph";
    NotInstances "E0302" Some("CO_NOT_INSTANCES"), Error Conversion "A file that holds no instances";
    UnreachableFile "E0303" Some("CO_UNREACHABLE_FILE"), Error Conversion "An imported file that is not there";
    DuplicateFacet "E0304" Some("CO_ALREADY_DEFINED_FACET"), Error Conversion "A facet defined several times";
    DuplicateComponent "E0305" Some("CO_ALREADY_DEFINED_COMPONENT"), Error Conversion "A component defined several times";
    ConversionInheritanceCycle "E0306" Some("CO_CYCLE_IN_COMPONENTS_INHERITANCE"), Error Conversion
        "Components that extend each other";
    DuplicateInstance "E0307" Some("CO_ALREADY_DEFINED_INSTANCE"), Error Conversion "An instance defined several times";
    ConflictingInferredInstance "E0308" Some("CO_CONFLICTING_INFERRED_INSTANCE"), Error Conversion
        "A copy made by `count` that meets another instance";
    UnknownChild "E0309" Some("CO_INEXISTING_CHILD"), Error Conversion "A child that is not defined";
    UnknownComponent "E0310" Some("CO_INEXISTING_COMPONENT"), Error Conversion "A component that is not defined";
    UnknownFacet "E0311" Some("CO_INEXISTING_FACET"), Error Conversion "A facet that is not defined";
    ConflictingName "E0312" Some("CO_CONFLICTING_NAME"), Error Conversion "A component and a facet of one name";
    GraphNotBuilt "E0313" Some("CO_GRAPH_COULD_NOT_BE_BUILT"), Error Conversion "Instances without a graph";

    MissingApplicationName "E0401" Some("RM_MISSING_APPLICATION_NAME"), Error Runtime "An application without a name";
    InvalidApplicationName "E0402" Some("RM_INVALID_APPLICATION_NAME"), Error Runtime "An application's name that is no name";
    MissingDslId "E0403" Some("RM_MISSING_APPLICATION_DSL_ID"), Warning Runtime "A descriptor without `dsl-id`";
    MissingApplicationVersion "E0404" Some("RM_MISSING_APPLICATION_VERSION"), Error Runtime "An application without a version";
    MissingGraphEntryPoint "E0405" Some("RM_MISSING_APPLICATION_GEP"), Error Runtime "A descriptor without `graph-entry-point`";
    MissingGraphs "E0406" Some("RM_MISSING_APPLICATION_GRAPHS"), Error Runtime "An application without a graph";
    MissingExportsPrefix "E0407" Some("RM_MISSING_APPLICATION_EXPORT_PREFIX"), Error Runtime "External exports without a prefix";
    InvalidApplicationVersion "E0408" Some("RM_INVALID_APPLICATION_VERSION"), Error Runtime "A version that is no version";
    RuntimeDotNotAllowed "E0409" Some("RM_DOT_IS_NOT_ALLOWED"), Error Runtime "A dot in the name of a component or facet";
    RuntimeEmptyComponentName "E0410" Some("RM_EMPTY_COMPONENT_NAME"), Error Runtime "A component of the model without a name";
    RuntimeEmptyFacetName "E0411" Some("RM_EMPTY_FACET_NAME"), Error Runtime "A facet of the model without a name";
    RuntimeInvalidComponentName "E0412" Some("RM_INVALID_COMPONENT_NAME"), Error Runtime "A component's name that is no name";
    RuntimeInvalidFacetName "E0413" Some("RM_INVALID_FACET_NAME"), Error Runtime "A facet's name that is no name";
    EmptyInstaller "E0414" Some("RM_EMPTY_COMPONENT_INSTALLER"), Error Runtime "A component without an installer";
    InvalidInstaller "E0415" Some("RM_INVALID_COMPONENT_INSTALLER"), Error Runtime "An installer of the model that is no name";
    ImportsOwnExport "E0416" Some("RM_COMPONENT_IMPORTS_EXPORTS"), Error Runtime "A component that waits for its own export";
    RootInstaller "E0417" Some("RM_ROOT_INSTALLER_MUST_BE_TARGET"), Error Runtime "A root component that is no machine";
    RuntimeEmptyVariableName "E0418" Some("RM_EMPTY_VARIABLE_NAME"), Error Runtime "A variable of the model without a name";
    InvalidVariableName "E0419" Some("RM_INVALID_VARIABLE_NAME"), Error Runtime "A variable's name that is no name";
    InvalidExportsPrefix "E0420" Some("RM_INVALID_APPLICATION_EXPORT_PREFIX"), Error Runtime "An exports prefix that is no name";
    MagicVariable "E0421" Some("RM_MAGIC_INSTANCE_VARIABLE"), Warning Runtime "An override that overrides nothing";
    MissingVariableValue "E0422" Some("RM_MISSING_VARIABLE_VALUE"), Error Runtime "An exported variable without a value";
    AmbiguousOverriding "E0423" Some("RM_AMBIGUOUS_OVERRIDING"), Warning Runtime "An override that hits several variables";
    InvalidExternalExport "E0424" Some("RM_INVALID_EXTERNAL_EXPORT"), Error Runtime "An external export that nobody exports";
    DuplicateExternalExport "E0425" Some("RM_ALREADY_DEFINED_EXTERNAL_EXPORT"), Error Runtime "Two external exports of one name";
    InvalidRandomKind "E0426" Some("RM_INVALID_RANDOM_KIND"), Error Runtime "A random value of an unknown kind";
    RandomWithValue "E0427" Some("RM_NO_VALUE_FOR_RANDOM"), Error Runtime "A random variable with a value";
    ContainmentCycle "E0428" Some("RM_CYCLE_IN_COMPONENTS"), Error Runtime "Components that contain each other";
    InheritanceCycle "E0429" Some("RM_CYCLE_IN_COMPONENTS_INHERITANCE"), Error Runtime "Components that extend each other in a circle";
    FacetCycle "E0430" Some("RM_CYCLE_IN_FACETS_INHERITANCE"), Error Runtime "Facets that extend each other";
    NoRootComponent "E0431" Some("RM_NO_ROOT_COMPONENT"), Error Runtime "A graph without a root component";
    NotARootComponent "E0432" Some("RM_NOT_A_ROOT_COMPONENT"), Error Runtime "A root component with ancestors";
    UnresolvableVariable "E0433" Some("RM_UNRESOLVABLE_VARIABLE"), Error Runtime "An import that nobody exports";
    UnresolvableFacetVariable "E0434" Some("RM_UNRESOLVABLE_FACET_VARIABLE"), Error Runtime
        "An import that only an unused facet exports";
    EmptyInstanceName "E0435" Some("RM_EMPTY_INSTANCE_NAME"), Error Runtime "An instance of the model without a name";
    RuntimeInvalidInstanceName "E0436" Some("RM_INVALID_INSTANCE_NAME"), Error Runtime "An instance of the model whose name is no name";
    EmptyInstanceComponent "E0437" Some("RM_EMPTY_INSTANCE_COMPONENT"), Error Runtime "An instance without a component";
    MissingInstanceParent "E0438" Some("RM_MISSING_INSTANCE_PARENT"), Error Runtime "A root instance that must stand in another";
    InvalidInstanceParent "E0439" Some("RM_INVALID_INSTANCE_PARENT"), Error Runtime "An instance in a parent that may not hold it";
    UnreachableComponent "E0440" Some("RM_UNREACHABLE_COMPONENT"), Error Runtime "A component that only an unused facet may hold";
    OrphanFacet "E0441" Some("RM_ORPHAN_FACET"), Warning Runtime "A facet that no component has";
    OrphanFacetWithChildren "E0442" Some("RM_ORPHAN_FACET_WITH_CHILDREN"), Warning Runtime
        "A facet with children that no component has";

    NoGraphFolder "E0501" Some("PROJ_NO_GRAPH_DIR"), Error Project "A project without `graph/`";
    NoDescriptorFolder "E0502" Some("PROJ_NO_DESC_DIR"), Error Project "A project without `descriptor/`";
    NoDescriptor "E0503" Some("PROJ_NO_DESC_FILE"), Error Project "A project without a descriptor";
    MissingGraphEntry "E0504" Some("PROJ_MISSING_GRAPH_EP"), Error Project "A graph entry point that is not there";
    MissingInstanceEntry "E0505" Some("PROJ_MISSING_INSTANCE_EP"), Error Project "An instance entry point that is not there";
    UnreadableDescriptor "E0509" Some("PROJ_READ_DESC_FILE"), Error Project "A descriptor that cannot be read";
    InvalidExternalExports "E0510" Some("PROJ_INVALID_EXTERNAL_EXPORTS"), Error Project "External exports that are not `X.y as z`";

    NotUtf8 "E0901" None, Error Parse "A file that is not UTF-8";
    NulByte "E0902" None, Error Parse "A file that is not text";
    SourceTooLarge "E0903" None, Error Parse "A file that is too large";
    TooManyDiagnostics "E0904" None, Error Parse "More mistakes than are shown";
    NestingTooDeep "E0905" None, Error Parse "Instances nested too deeply";
    CarriageReturns "E0906" None, Warning Parse "Lines that end with CR alone";
    NameTooLong "E0907" None, Error Blocks "A name that is too long";
    ValueTooLong "E0908" None, Error Blocks "A value that is too long";
    ImportLeavesRoot "E0909" None, Error Conversion "An import from outside the folder";
    NotAvailable "E0910" None, Error Blocks "Something that this version does not have";
    SecretsNotAvailable "E0911" None, Error Blocks "A secret, which this version does not have";
    InstanceIgnored "E0912" None, Warning Blocks "An instance inside a component or facet";
    InvalidDuration "E0913" None, Error Blocks "A time that is no time";
    InvalidCheck "E0914" None, Error Blocks "A check that is not well formed";
    InvalidRestart "E0915" None, Error Blocks "An unknown restart policy";
    InvalidUser "E0916" None, Error Blocks "A user's name that is no name";
    InvalidEnvironment "E0917" None, Error Blocks "An environment variable's name that is no name";
    InvalidCommand "E0918" None, Error Blocks "A command line that cannot be split";
    InvalidDevice "E0919" None, Error Conversion "A device's name that is no name";
    InvalidSelector "E0920" None, Error Conversion "A device selector that is not well formed";
    InvalidTarget "E0921" None, Error Conversion "A target's name that is no name";
    ConflictingBinding "E0922" None, Error Conversion "Two bindings of one instance";
    UnknownTemplateName "E0923" None, Error Runtime "A `$(name)` that nothing gives a value to";
    ProcessWithoutRun "E0924" None, Error Runtime "A process without a command";
    RunWithoutProcess "E0925" None, Error Runtime "A command without `installer: process`";
    TooManyInstances "E0926" None, Error Conversion "Too many instances";
    InheritanceTooDeep "E0927" None, Error Conversion "Inheritance that is too deep";
    DuplicateApplication "E0928" None, Error Conversion "Two application blocks";
    GraphTooLarge "E0929" None, Error Conversion "A graph that inheritance makes too large";
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl serde::Serialize for Code {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn numbers_and_aliases_are_unique_and_in_their_range() {
        let numbers: BTreeSet<_> = Code::ALL.iter().map(|c| c.as_str()).collect();
        let aliases: BTreeSet<_> = Code::ALL.iter().filter_map(|c| c.alias()).collect();
        assert_eq!(numbers.len(), Code::ALL.len());
        assert_eq!(aliases.len(), Code::ALL.iter().filter(|c| c.alias().is_some()).count());
        for code in Code::ALL {
            let range = match code.alias().and_then(|a| a.split('_').next()) {
                Some("P") => "E01",
                Some("PM") => "E02",
                Some("CO") => "E03",
                Some("RM") => "E04",
                Some("PROJ") => "E05",
                _ => "E09",
            };
            assert!(code.as_str().starts_with(range), "{code}");
        }
    }
}
