//! Health of components.

use utoipa::ToSchema;

/// Health of a component in James's grades.
#[derive(ToSchema)]
#[schema(as = Grade, rename_all = "lowercase")]
pub enum GradeSchema {
    /// The component works.
    Healthy,
    /// The component works in part, or will soon stop working.
    Degraded,
    /// The component does not work.
    Unhealthy,
}
